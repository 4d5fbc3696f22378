"""Made-up patients written in the official layouts of real data sets, to exercise their importers.

python -m data_prep.phantom.layouts --layout acdc --output raw/acdc --patients 10
python -m data_prep.acdc --source raw/acdc --output prepared/acdc
"""
