"""Loads a person's task, cuts its batches and computes its gradients."""
