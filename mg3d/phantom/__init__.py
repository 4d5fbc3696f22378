"""Made-up patients: one plan, and from it a thorax with planted, masked findings and a report."""
