"""Files of every kind to voxels and a geometry, or a refusal by name."""
