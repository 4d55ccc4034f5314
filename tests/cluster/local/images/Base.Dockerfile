# A minimal Debian with Python, where no registry offers one.
FROM scratch
ADD base.tar /
CMD ["python3"]
