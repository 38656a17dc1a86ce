#!/bin/bash
# Never ends by itself: the entry's timeout of 3 seconds ends it, the log so far is kept.
echo "waiting for something that never comes"
sleep 3600
