#include "tests/helpers/wait.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"

#define LOOK_AGAIN_NS 5000000

int64_t now_ms(void)
{
	return clock_ms();
}

int left_ms(int64_t deadline)
{
	int64_t left = deadline - now_ms();

	return left > 0 ? (int)left : 0;
}

bool wait_readable(int fd, int timeout_ms)
{
	int64_t deadline = now_ms() + timeout_ms;
	struct pollfd entry = {.fd = fd, .events = POLLIN};
	int n;

	do
		n = poll(&entry, 1, left_ms(deadline));
	while (n == -1 && errno == EINTR);
	return n == 1;
}

bool poll_until(bool (*is_there)(void *ctx), void *ctx, int timeout_ms)
{
	const struct timespec pause = {.tv_nsec = LOOK_AGAIN_NS};
	int64_t deadline = now_ms() + timeout_ms;

	while (!is_there(ctx)) {
		if (left_ms(deadline) == 0)
			return false;
		ppoll(NULL, 0, &pause, NULL);
	}
	return true;
}

static void too_long(int signal)
{
	static const char text[] = "the watchdog ends this test program: it hangs\n";
	ssize_t written = write(STDERR_FILENO, text, sizeof(text) - 1);

	(void)signal;
	(void)written; /* it ends one way or the other */
	_exit(124);
}

void stay_busy(int ms)
{
	int64_t until = now_ms() + ms;

	while (now_ms() < until)
		;
}

void watchdog(unsigned int seconds)
{
	const struct sigaction action = {.sa_handler = too_long};

	sigaction(SIGALRM, &action, NULL);
	alarm(seconds);
}
