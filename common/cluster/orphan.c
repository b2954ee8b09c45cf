#include "common/cluster/orphan.h"

#include <errno.h>
#include <sys/prctl.h>
#include <unistd.h>

static volatile pid_t parent;

/* A thread of the parent's that ends sends it as well. */
static void on_signal(int number)
{
	int saved = errno;
	sigset_t alarms;

	if (getppid() != parent) {
		sigemptyset(&alarms);
		sigaddset(&alarms, SIGALRM);
		signal(SIGALRM, SIG_DFL);
		pthread_sigmask(SIG_UNBLOCK, &alarms, NULL);
		alarm(ORPHAN_TIMEOUT_S);
	}
	errno = saved;
}

int orphan_watch(void)
{
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	parent = getppid();
	if (sigaction(ORPHAN_SIGNAL, &action, NULL) == -1 ||
	    prctl(PR_SET_PDEATHSIG, ORPHAN_SIGNAL, 0, 0, 0) == -1)
		return -errno;
	return getppid() == parent ? 0 : -ESRCH;
}

void orphan_forgive(void)
{
	prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	signal(ORPHAN_SIGNAL, SIG_IGN);
	if (getppid() != parent)
		alarm(0);
}
