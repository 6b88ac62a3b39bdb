"""What several tests share: real programs started and stopped, root file systems, stores.  Never shipped."""
