"""The parts of a conductor: queue, workers, plans, retries and the journal writer."""
