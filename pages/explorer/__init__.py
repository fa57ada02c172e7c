"""The explorers of the Generation tab: what each is asked and what it answers, one file each."""
