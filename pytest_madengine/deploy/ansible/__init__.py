"""An Ansible playbook for the models of a manifest."""
