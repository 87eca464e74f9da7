"""Speed of the evaluation beside its peers."""
