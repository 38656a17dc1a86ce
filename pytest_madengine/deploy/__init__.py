"""Files for other schedulers, rendered from plans: Kubernetes objects, an Ansible playbook, Slurm jobs."""
