"""What prise costs, beside what its peers cost: `make bench`. See README.md of this folder for the method."""
