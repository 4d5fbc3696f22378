"""Measurements that the README and the notebooks quote; one JSON line each, nothing is a test."""
