#include "tests/helpers/starve.h"

#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

static bool sleeps(void *ctx)
{
	return kernel_process_state(*(pid_t *)ctx) == 'S';
}

/* The first processor that this process may use. */
static cpu_set_t one_processor(void)
{
	cpu_set_t all, one;
	int i = 0;

	assert_int_equal(sched_getaffinity(0, sizeof(all), &all), 0);
	while (!CPU_ISSET(i, &all))
		i++;
	CPU_ZERO(&one);
	CPU_SET(i, &one);
	return one;
}

static _Noreturn void be_busy(void)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (volatile bool more = true; more;)
		;
	_exit(0);
}

void starve_begin(struct starve *s, pid_t victim)
{
	const struct sched_param none = {0};
	cpu_set_t one = one_processor();

	*s = (struct starve){.victim = victim};
	assert_int_equal(sched_setaffinity(victim, sizeof(one), &one), 0);
	assert_int_equal(sched_setscheduler(victim, SCHED_IDLE, &none), 0);
	assert_true(poll_until(sleeps, &victim, WAIT_MS));
	s->busy = fork();
	assert_true(s->busy >= 0);
	if (s->busy == 0)
		be_busy();
	assert_int_equal(sched_setaffinity(s->busy, sizeof(one), &one), 0);
}

bool starve_is_woken(const struct starve *s)
{
	return kernel_process_state(s->victim) == 'R';
}

void starve_end(struct starve *s)
{
	assert_int_equal(kill(s->busy, SIGKILL), 0);
	assert_int_equal(waitpid(s->busy, NULL, 0), s->busy);
}
