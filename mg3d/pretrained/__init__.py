"""Pre-trained weights from elsewhere and from here, checked before they are used."""
