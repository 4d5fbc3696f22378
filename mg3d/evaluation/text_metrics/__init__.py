"""Word-overlap scores of generated reports: BLEU, ROUGE-L, CIDEr and METEOR, tokenisation named."""
