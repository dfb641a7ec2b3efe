"""Every system on one data set: what is trained, by how many seeds, and the paper's tables of it."""
