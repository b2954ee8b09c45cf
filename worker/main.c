/* usher-worker: serves the listeners that usherd sends over its channel. */
#include <ev.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sysexits.h>

#include "common/log.h"
#include "worker/worker.h"

static void on_term(struct ev_loop *loop, ev_signal *watcher, int events)
{
	struct worker *worker = watcher->data;

	worker_drain(worker, worker->welcome.drain_timeout_ms, true);
}

/* The descriptor that the environment names; -1 if it does not. */
static int channel_from_environment(void)
{
	const char *text = getenv(IPC_CHANNEL_VARIABLE);
	char *end;

	if (!text || *text < '0' || *text > '9')
		return -1;
	errno = 0;
	long number = strtol(text, &end, 10);
	if (errno || *end || number > INT_MAX || fcntl((int)number, F_SETFD, FD_CLOEXEC) == -1)
		return -1;
	unsetenv(IPC_CHANNEL_VARIABLE);
	return (int)number;
}

int main(void)
{
	struct worker worker;
	ev_signal term;
	int fd, error;

	log_init("usher-worker", LOG_LEVEL_INFO);
	/* Executed from a descriptor, it would be called by that one's number in ps(1). */
	prctl(PR_SET_NAME, "usher-worker");
	signal(SIGPIPE, SIG_IGN);
	/* Ctrl-C, a terminal's end and what "systemctl kill" sends reach everybody; what they mean
	 * is the supervisor's to say. */
	signal(SIGINT, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	signal(SIGUSR1, SIG_IGN);
	signal(SIGUSR2, SIG_IGN);

	fd = channel_from_environment();
	if (fd == -1) {
		fputs("usher-worker: usherd(8) starts it; by itself it has nothing to do\n",
		      stderr);
		return EX_USAGE;
	}
	struct ev_loop *loop = ev_default_loop(EVBACKEND_EPOLL | EVFLAG_NOENV);
	if (!loop) {
		log_error("there is no event loop: epoll is not available");
		return EX_OSERR;
	}
	error = worker_init(&worker, loop, fd);
	if (error < 0) {
		log_error("descriptor %d is not a channel to usherd: %s", fd, strerror(-error));
		return EX_USAGE;
	}

	ev_signal_init(&term, on_term, SIGTERM);
	term.data = &worker;
	ev_signal_start(loop, &term);
	ev_unref(loop);
	ev_run(loop, 0);

	worker_done(&worker);
	ev_ref(loop);
	ev_signal_stop(loop, &term);
	ev_loop_destroy(loop);
	return worker.status;
}
