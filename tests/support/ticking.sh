# An agent that says once a second that it lives: its ID, its process, and the seconds since the boot.
end=$(( $(date +%s) + ${TASK_SECONDS:-40} ))
while [ "$(date +%s)" -lt "$end" ]; do
  read -r up _ < /proc/uptime
  echo "$AGENT_ID $$ $up" >> "$TASK_FILE"
  sleep 1
done
