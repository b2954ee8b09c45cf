# The tests of usher.service and usher.socket. Sourced by run.sh, which runs every function whose
# name begins with test_.
# shellcheck shell=bash

test_units_have_no_mistakes_and_are_hardened() {
	systemd-analyze verify --man=no --recursive-errors=no "$UNITDIR"/usher.{service,socket} ||
		fail "systemd-analyze verify complains"
	systemd-analyze security --no-pager --offline=true --threshold=20 \
		"$UNITDIR/usher.service" >/dev/null || fail "exposed by more than 2.0"
}

test_the_users_and_the_folder_are_made() {
	getent passwd usherd usher >/dev/null || fail "sysusers did not make both users"
	equal "folder" "usherd:usherd 755" "$(stat -c '%U:%G %a' /run/usher)"
}

test_start_returns_when_every_worker_is_ready() {
	configure_echo
	start
	ready_workers_are 2 || fail "not ready: $(usherctl status)"
	equal "state" "active running" "$(property ActiveState) $(property SubState)"
	[ -n "$(property StatusText)" ] || fail "systemctl status shows no text"
	echoes "$PORT" || fail "no echo"
}

test_no_process_is_roots_and_workers_have_no_capability() {
	local main pid

	configure_echo
	start
	main=$(property MainPID)
	equal "user of usherd" "$(id -u usherd)" "$(status_of "$main" Uid)"
	for pid in $(workers); do
		equal "user of a worker" "$(id -u usher)" "$(status_of "$pid" Uid)"
		equal "capabilities" "0000000000000000" "$(status_of "$pid" CapEff)"
		equal "permitted" "0000000000000000" "$(status_of "$pid" CapPrm)"
		equal "ambient" "0000000000000000" "$(status_of "$pid" CapAmb)"
	done
}

# What usherd(8) tells to do for more messages a second.
test_the_scheduling_policy_of_a_drop_in_reaches_the_workers() {
	local pid

	configure_echo
	drop_in <<-EOF
		[Service]
		CPUSchedulingPolicy=batch
	EOF
	start
	for pid in $(workers); do
		chrt -p "$pid" | grep -q SCHED_BATCH || fail "$(chrt -p "$pid")"
	done
	echoes "$PORT" || fail "no echo"
}

test_only_members_of_the_group_reach_the_control_socket() {
	configure_echo
	start
	equal "socket" "srw-rw---- usherd" "$(stat -c '%A %G' /run/usher/control.sock)"
	setpriv --reuid 65534 --regid usherd --clear-groups usherctl status >/dev/null ||
		fail "a member of the group may not ask"
	setpriv --reuid 65534 --regid 65534 --clear-groups usherctl status 2>/dev/null
	equal "exit code for others" 77 $?
	setpriv --reuid usher --regid usher --clear-groups usherctl stop 2>/dev/null
	equal "exit code for a worker" 77 $?
}

test_a_program_in_a_worker_may_listen_where_its_user_may() {
	local program=/usr/local/libexec/usher/fake_listener crew=/run/usher-crew

	install -m 0755 "${BUILD:-build}/tests/helpers/fake_listener" "$program"
	configure_echo
	sed -i 's/^workers: 2$/workers: 1/' "$CONFIG"
	drop_in <<-EOF
		[Service]
		Environment=CREW=$crew
		ExecStart=
		ExecStart=/usr/local/sbin/usherd -c $CONFIG --worker $program
	EOF
	rm -f "$crew"
	{
		echo "listen a path /tmp/s"
		echo "listen b path /run/usher/s"
		echo "listen c port 127.0.0.1 80"
		echo "listen d port 127.0.0.1 0"
		cat "$NEVER"
	} | nc -lU "$crew" >"${folder:?}/crew" &
	soon test -S "$crew"
	chmod 0777 "$crew"
	start
	soon grep -q '^a listening /tmp/s$' "$folder/crew"
	soon grep -q '^b error EACCES' "$folder/crew"
	soon grep -q '^c error EACCES' "$folder/crew"
	soon grep -q '^d listening 127.0.0.1:' "$folder/crew"
	soon log_says warning 'may not listen on 127.0.0.1:80'
	systemctl stop usher.service
	kill %1 2>/dev/null
	rm -f "$crew" "$program"
}

test_the_journal_knows_the_levels() {
	configure_echo
	start
	kill -KILL "$(workers | head -n 1)"
	soon ready_workers_are 2
	soon log_says warning worker
	[ -z "$(log err)" ] || fail "errors: $(log err)"
	! log_says debug '^<[0-7]>' || fail "a level stands in the text"
}

test_a_killed_worker_is_replaced() {
	local main victim

	configure_echo
	start
	main=$(property MainPID)
	victim=$(workers | head -n 1)
	kill -KILL "$victim"
	soon is_gone "$victim"
	soon ready_workers_are 2
	echoes "$PORT" || fail "no echo"
	equal "state" "active" "$(property ActiveState)"
	equal "usherd" "$main" "$(property MainPID)"
	equal "restarts of the unit" 0 "$(property NRestarts)"
}

# "systemctl kill" signals every process of the unit; a hangup ends none of them.
test_a_hangup_for_all_ends_nobody() {
	local main before

	configure_echo
	start
	main=$(property MainPID)
	before=$(workers)
	systemctl kill --signal=HUP usher.service
	echoes "$PORT" || fail "no echo"
	equal "workers" "$before" "$(workers)"
	equal "usherd" "$main" "$(property MainPID)"
	echoes "$PORT" || fail "no echo"
}

test_a_killed_usherd_is_started_again() {
	local main old

	configure_echo
	start
	main=$(property MainPID)
	old=$(workers)
	systemctl kill --kill-whom=main --signal=KILL usher.service
	soon property_is_not MainPID "$main"
	soon ready_workers_are 2
	equal "restarts" 1 "$(property NRestarts)"
	for pid in $old; do
		[ ! -e "/proc/$pid" ] || fail "worker $pid outlived its usherd and the restart"
	done
	echoes "$PORT" || fail "no echo"
	[ "$(printf hi | timeout "$SECONDS_TO_WAIT" nc -N -U /run/usher/echo.sock)" = hi ] ||
		fail "the socket file of the dead usherd was not replaced"
}

pings_after() {
	[ "$(property WatchdogTimestampMonotonic)" -gt "$1" ]
}

test_a_hanging_usherd_is_ended_by_the_watchdog() {
	local main

	drop_in <<-EOF
		[Service]
		WatchdogSec=4s
	EOF
	configure_echo
	start
	main=$(property MainPID)

	# A healthy one gives signs of life for longer than the watchdog's time, and is left alone.
	soon pings_after $(($(property WatchdogTimestampMonotonic) + 4500000))
	equal "usherd" "$main" "$(property MainPID)"

	kill -STOP "$main"
	soon is_gone "$main"
	soon ready_workers_are 2
	equal "restarts" 1 "$(property NRestarts)"
	echoes "$PORT" || fail "no echo"
}

test_stop_leaves_nothing() {
	local group

	configure_echo 1h # nothing is there to wait for
	start
	group=$(property ControlGroup)
	timeout "$SECONDS_TO_WAIT" systemctl stop usher.service || fail "an idle usherd does not stop"
	equal "result" "success 0" "$(property Result) $(property ExecMainStatus)"
	equal "processes" "" "$(processes "$group")"
	equal "files" "" "$(ls /run/usher)"
}

# client_says TEXT: to the listener, on the descriptor client, and has it back.
client_says() {
	local line

	echo "$1" >&"$client"
	read -rt "$SECONDS_TO_WAIT" line <&"$client" || fail "the client was cut off"
	equal "echo" "$1" "$line"
}

test_stop_waits_for_clients() {
	local client

	configure_echo 1h
	start
	exec {client}<>"/dev/tcp/127.0.0.1/$PORT"
	client_says "here"
	systemctl stop --no-block usher.service
	soon property_is ActiveState deactivating

	client_says "still here"
	exec {client}>&-
	soon property_is ActiveState inactive
	equal "result" success "$(property Result)"
}

test_stop_does_not_wait_for_clients_beyond_drain_timeout() {
	local client

	configure_echo
	start
	exec {client}<>"/dev/tcp/127.0.0.1/$PORT"
	client_says "here"
	timeout "$SECONDS_TO_WAIT" systemctl stop usher.service || fail "it does not stop"
	equal "result" success "$(property Result)"
}

test_usherctl_stop_is_no_failure_that_systemd_would_repair() {
	configure_echo
	start
	usherctl stop >/dev/null || fail "usherctl stop failed"
	soon property_is ActiveState inactive
	equal "result" "success 0" "$(property Result) $(property NRestarts)"
}

test_a_broken_configuration_is_not_tried_again() {
	configure <<-EOF
		  - {name: echo, port: 8124, handlr: echo}
	EOF
	! timeout "$SECONDS_TO_WAIT" systemctl start usher.service 2>/dev/null || fail "it started"
	equal "state" "failed 78 0" \
		"$(property ActiveState) $(property ExecMainStatus) $(property NRestarts)"
	soon whole_log_says "$CONFIG:5:.*handler"
}

configure_web() {
	configure <<-EOF
		  - {name: web, systemd: web, handler: echo}
	EOF
}

test_a_first_connection_starts_the_service_and_is_served() {
	configure_web
	systemctl start usher.socket || fail "the socket does not start"
	equal "service before" inactive "$(property ActiveState)"
	echoes 8080 || fail "no echo"
	soon property_is ActiveState active # one worker may serve before the other is ready
	usherctl status | grep -q '^web ' || fail "no listener web: $(usherctl status)"
}

test_connections_wait_while_the_service_restarts() {
	local client

	configure_web
	systemctl start usher.socket
	start
	systemctl stop usher.service 2>/dev/null
	exec {client}<>/dev/tcp/127.0.0.1/8080
	client_says "patient"
}

test_a_passed_socket_that_nobody_wants_is_told() {
	configure_echo
	systemctl start usher.socket
	start
	soon log_says warning web
	echoes "$PORT" || fail "no echo"
}

test_a_socket_that_was_not_passed_is_an_error() {
	configure_web
	! timeout "$SECONDS_TO_WAIT" systemctl start usher.service 2>/dev/null || fail "it started"
	equal "exit code" 69 "$(property ExecMainStatus)"
	soon whole_log_says "$CONFIG:.*FileDescriptorName=web"
}
