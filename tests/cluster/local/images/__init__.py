"""The images that the local cluster runs: ours by the Dockerfile that users build, others from programs built here."""
