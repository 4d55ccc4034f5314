"""Who is there: publishing and watching worker cards. Implementations beside each other; consumers declare the port."""
