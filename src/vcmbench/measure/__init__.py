"""What compression did to the machine and to the pictures: from the records of `compress` to scores and a report."""
