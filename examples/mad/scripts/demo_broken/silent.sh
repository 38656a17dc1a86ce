#!/bin/bash
# Ends well and measures nothing: that is a failure, never a success.
echo "done"
