"""The images that the local cluster runs: ours by the Dockerfiles that users build, others from programs built here."""
