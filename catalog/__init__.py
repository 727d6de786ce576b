"""What we hold: the blob store, versions, commits, snapshots and the questions one can ask of them."""
