/* The resolver is faked at its edge, so that each answer comes when a test wants it.
 *
 * wrap: getaddrinfo pthread_create eventfd */
#include "common/net/lookup.h"

#include <netdb.h>
#include <pthread.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"
#include "tests/helpers/watches.h"

#define WATCHDOG_S 60
#define MANY       6 /* more than there are threads */

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif

int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);
int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg);
int __real_eventfd(unsigned count, int flags);
int __wrap_eventfd(unsigned count, int flags);

/* The fake resolver's state. Names that start with "slow" post entered and wait for gate. */
static sem_t entered, gate;
static atomic_int threads_started, asked, running, most_running, signals_open, last_flags;
static atomic_int pthread_create_error, eventfd_error;

static void wait_for(sem_t *semaphore)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += WATCHDOG_S / 2;
	while (sem_timedwait(semaphore, &deadline) == -1)
		assert_int_equal(errno, EINTR);
}

static void be_slow(void)
{
	int now = atomic_fetch_add(&running, 1) + 1;
	int most = atomic_load(&most_running);

	while (now > most && !atomic_compare_exchange_weak(&most_running, &most, now))
		;
	sem_post(&entered);
	wait_for(&gate);
	atomic_fetch_sub(&running, 1);
}

static void note_open_signals(void)
{
	sigset_t blocked;

	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	if (!sigismember(&blocked, SIGTERM) || !sigismember(&blocked, SIGCHLD))
		atomic_store(&signals_open, 1);
}

static void numeric(const char *host, struct addrinfo **ret)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_STREAM};

	assert_int_equal(__real_getaddrinfo(host, NULL, &hints, ret), 0);
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret)
{
	if (hints->ai_flags & AI_NUMERICHOST || strcmp(host, "localhost") == 0)
		return __real_getaddrinfo(host, service, hints, ret);

	atomic_fetch_add(&asked, 1);
	atomic_store(&last_flags, hints->ai_flags);
	note_open_signals();
	if (strncmp(host, "slow", 4) == 0)
		be_slow();
	if (strncmp(host, "error", 5) == 0) {
		errno = ENETDOWN;
		return atoi(host + 5);
	}
	numeric("2001:db8::7", ret);
	if (strncmp(host, "many", 4) == 0) {
		for (int i = 0; i < RESOLVE_ADDRESSES_MAX; i++) {
			ret = &(*ret)->ai_next;
			numeric("192.0.2.1", ret);
		}
		return 0;
	}
	numeric("192.0.2.7", &(*ret)->ai_next);
	numeric("192.0.2.3", &(*ret)->ai_next->ai_next);
	return 0;
}

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*run)(void *),
			  void *arg)
{
	if (atomic_load(&pthread_create_error))
		return atomic_load(&pthread_create_error);
	atomic_fetch_add(&threads_started, 1);
	return __real_pthread_create(thread, attr, run, arg);
}

int __wrap_eventfd(unsigned count, int flags)
{
	if (atomic_load(&eventfd_error)) {
		errno = atomic_load(&eventfd_error);
		return -1;
	}
	return __real_eventfd(count, flags);
}

/* What one callback was told. */
struct answer {
	unsigned calls;
	int status;
	size_t count;
	char text[3 * (ADDR_TEXT_SIZE + 1)];
	struct lookup *cancels; /* in the callback */
};

static void on_done(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct answer *answer = ctx;

	answer->calls++;
	answer->status = status;
	answer->count = count;
	answer->text[0] = '\0';
	for (size_t i = 0; i < count && i < 3; i++) {
		char text[ADDR_TEXT_SIZE];

		addr_format(&addresses[i], text, sizeof(text));
		strcat(strcat(answer->text, text), " ");
	}
	lookup_cancel(answer->cancels);
}

static int set_up(void **state)
{
	alarm(WATCHDOG_S);
	sem_init(&entered, 0, 0);
	sem_init(&gate, 0, 0);
	threads_started = asked = most_running = signals_open = 0;
	pthread_create_error = eventfd_error = 0;
	watches_refused = false;
	*state = ev_loop_new(EVFLAG_AUTO);
	return *state ? 0 : -1;
}

static bool nobody_is_slow(void *ctx)
{
	return atomic_load(&running) == 0;
}

/* One that is cancelled may still be at the gate, which the next test closes. */
static int tear_down(void **state)
{
	if (!poll_until(nobody_is_slow, NULL, WAIT_MS))
		return -1;
	ev_loop_destroy(*state);
	alarm(0);
	return 0;
}

static struct lookup *start(struct ev_loop *loop, const char *host, int family,
			    struct answer *answer)
{
	struct resolve_request request = {.host = host, .family = family, .port = 80};
	struct lookup *lookup;

	*answer = (struct answer){0};
	assert_int_equal(lookup_start(loop, &request, on_done, answer, &lookup), 0);
	assert_int_equal(answer->calls, 0); /* CB-1 */
	return lookup;
}

static void process_may_exit_while_a_lookup_runs(void **state)
{
	struct answer answer;
	int status;
	pid_t child = fork();

	if (child == 0) {
		alarm(WATCHDOG_S); /* not inherited */
		start(*state, "slow.test", 0, &answer);
		wait_for(&entered);
		exit(7);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 7);
}

static void literal_host_needs_no_thread(void **state)
{
	static const struct {
		const char *host, *expected;
	} cases[] = {
		{"127.0.0.1", "127.0.0.1:80 "},
		{"::1", "[::1]:80 "},
		{"::ffff:192.0.2.1", "[::ffff:192.0.2.1]:80 "},
		{"127.1", "127.0.0.1:80 "}, /* as inet_aton(3) has it */
	};
	struct answer answer;

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		start(*state, cases[i].host, 0, &answer);
		ev_run(*state, 0);
		assert_int_equal(answer.calls, 1);
		assert_int_equal(answer.status, 0);
		assert_string_equal(answer.text, cases[i].expected);
	}
	assert_int_equal(threads_started, 0);
}

static void literal_of_the_other_family_is_an_error_without_a_thread(void **state)
{
	struct answer answer;

	start(*state, "::1", 4, &answer);
	ev_run(*state, 0);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.status, NET_ERR_NOT_FOUND);
	assert_int_equal(answer.count, 0);
	assert_int_equal(threads_started, 0);
}

static void name_in_etc_hosts_is_found(void **state)
{
	struct answer answer;

	start(*state, "localhost", 4, &answer);
	ev_run(*state, 0);
	assert_int_equal(answer.status, 0);
	assert_memory_equal(answer.text, "127.0.0.1:80 ", 13);
}

static void addresses_keep_the_resolvers_order_and_bear_the_port(void **state)
{
	struct answer answer;

	start(*state, "three.test", 0, &answer);
	ev_run(*state, 0);
	assert_int_equal(answer.count, 3);
	assert_string_equal(answer.text, "[2001:db8::7]:80 192.0.2.7:80 192.0.2.3:80 ");
}

static void endless_answer_is_cut(void **state)
{
	struct answer answer;

	start(*state, "many.test", 0, &answer);
	ev_run(*state, 0);
	assert_int_equal(answer.count, RESOLVE_ADDRESSES_MAX);
	assert_memory_equal(answer.text, "[2001:db8::7]:80 ", 17);
}

static void hints_reach_the_resolver(void **state)
{
	static const struct {
		int ours, theirs;
	} cases[] = {
		{0, 0},
		{NET_HINT_ADDRCONFIG, AI_ADDRCONFIG},
		{NET_HINT_V4MAPPED, AI_V4MAPPED},
		{NET_HINT_ALL, AI_ALL},
		{NET_HINT_ALL | NET_HINT_V4MAPPED, AI_ALL | AI_V4MAPPED},
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct resolve_request request = {.host = "three.test", .hints = cases[i].ours};
		struct answer answer = {0};
		struct lookup *lookup;

		assert_int_equal(lookup_start(*state, &request, on_done, &answer, &lookup), 0);
		ev_run(*state, 0);
		assert_int_equal(last_flags, cases[i].theirs);
	}
}

/* ER-4: the codes of "getaddrinfo ENOTFOUND name" and its like */
static void errors_of_getaddrinfo_become_ours(void **state)
{
	static const struct {
		int eai, status;
	} cases[] = {
		{EAI_NONAME, NET_ERR_NOT_FOUND},     {EAI_NODATA, NET_ERR_NOT_FOUND},
		{EAI_ADDRFAMILY, NET_ERR_NOT_FOUND}, {EAI_AGAIN, NET_ERR_EAI_AGAIN},
		{EAI_FAIL, NET_ERR_EAI_FAIL},        {EAI_MEMORY, -ENOMEM},
		{EAI_FAMILY, -EAFNOSUPPORT},         {EAI_SYSTEM, -ENETDOWN},
		{-4000, NET_ERR_EAI_FAIL}, /* one that nobody knows */
	};

	for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
		struct answer answer;
		char host[32];

		snprintf(host, sizeof(host), "error%d", cases[i].eai);
		start(*state, host, 0, &answer);
		ev_run(*state, 0);
		assert_int_equal(answer.calls, 1);
		assert_int_equal(answer.status, cases[i].status);
		assert_int_equal(answer.count, 0);
	}
}

static void wrong_requests_are_refused_at_once(void **state)
{
	char long_host[NI_MAXHOST + 1];
	struct resolve_request cases[] = {
		{.host = NULL},
		{.host = ""},
		{.host = long_host},
		{.host = "::1", .family = AF_INET6},
		{.host = "::1", .hints = 8},
	};
	struct lookup *lookup = NULL;
	struct answer answer;

	memset(long_host, 'a', NI_MAXHOST);
	long_host[NI_MAXHOST] = '\0';
	for (size_t i = 0; i < ARRAY_LEN(cases); i++)
		assert_int_equal(lookup_start(*state, &cases[i], on_done, &answer, &lookup),
				 -EINVAL);
	assert_null(lookup);
}

static void count_tick(struct ev_loop *loop, ev_timer *timer, int events)
{
	int *left = timer->data;

	if (--*left == 0) {
		sem_post(&gate);
		ev_timer_stop(loop, timer);
	}
}

/* The gate opens only if the timer gets to run while the resolver blocks. */
static void loop_goes_on_while_the_resolver_blocks(void **state)
{
	struct answer answer;
	ev_timer timer;
	int left = 3;

	start(*state, "slow.test", 0, &answer);
	wait_for(&entered);
	ev_timer_init(&timer, count_tick, 0.001, 0.001);
	timer.data = &left;
	ev_timer_start(*state, &timer);
	ev_run(*state, 0);
	assert_int_equal(left, 0);
	assert_int_equal(answer.calls, 1);
}

static void only_a_pending_lookup_keeps_the_loop_alive(void **state)
{
	struct answer answer;

	start(*state, "slow.test", 0, &answer);
	wait_for(&entered);
	assert_true(ev_run(*state, EVRUN_NOWAIT));
	assert_int_equal(answer.calls, 0);
	sem_post(&gate);
	assert_false(ev_run(*state, 0));
	assert_int_equal(answer.calls, 1);
}

static void at_most_four_threads_serve_many_names(void **state)
{
	struct answer answers[MANY];

	for (int i = 0; i < MANY; i++)
		start(*state, "slow.test", 0, &answers[i]);
	for (int i = 0; i < LOOKUP_THREADS; i++)
		wait_for(&entered);
	for (int i = 0; i < MANY; i++)
		sem_post(&gate);
	ev_run(*state, 0);

	for (int i = 0; i < MANY; i++)
		assert_int_equal(answers[i].calls, 1);
	assert_int_equal(most_running, LOOKUP_THREADS);
}

static void threads_take_no_signals(void **state)
{
	struct answer answer;
	sigset_t blocked;

	start(*state, "three.test", 0, &answer);
	ev_run(*state, 0);
	assert_int_equal(signals_open, 0);
	pthread_sigmask(SIG_SETMASK, NULL, &blocked);
	assert_false(sigismember(&blocked, SIGTERM));
}

/* CN-7 */
/* Begins one whose answer comes to a loop that cannot watch for it. */
static struct lookup *start_unwatched(struct ev_loop *loop, struct answer *answer)
{
	struct lookup *lookup;

	ev_run(loop, EVRUN_NOWAIT); /* opens what it opens */
	watches_refused = true;
	watches_asked = 0;
	lookup = start(loop, "slow.test", 0, answer);
	wait_for(&entered);
	for (int i = 0; i < 100; i++)
		ev_run(loop, EVRUN_NOWAIT);
	assert_in_range(watches_asked, 1, 50); /* not in every turn */
	assert_int_equal(answer->calls, 0);
	sem_post(&gate);
	return lookup;
}

static void answer_comes_though_nothing_can_be_watched(void **state)
{
	struct answer answer;

	start_unwatched(*state, &answer);
	ev_run(*state, 0);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.status, 0);
}

static void refused_watch_is_made_again(void **state)
{
	struct answer answer;

	start_unwatched(*state, &answer);
	watches_refused = false;
	ev_run(*state, 0);
	assert_int_equal(answer.calls, 1);
	assert_int_equal(answer.status, 0);
}

static void cancelled_while_it_cannot_be_watched_is_forgotten(void **state)
{
	struct answer answer;

	lookup_cancel(start_unwatched(*state, &answer));
	assert_false(ev_run(*state, 0));
	assert_int_equal(answer.calls, 0);
}

static void cancelled_while_queued_is_never_asked(void **state)
{
	struct answer answers[LOOKUP_THREADS], answer;

	for (int i = 0; i < LOOKUP_THREADS; i++)
		start(*state, "slow.test", 0, &answers[i]);
	for (int i = 0; i < LOOKUP_THREADS; i++)
		wait_for(&entered);

	lookup_cancel(start(*state, "three.test", 0, &answer));
	for (int i = 0; i < LOOKUP_THREADS; i++)
		sem_post(&gate);
	ev_run(*state, 0);
	assert_int_equal(answer.calls, 0);
	assert_int_equal(asked, LOOKUP_THREADS);
}

/* CN-7 */
static void cancelled_while_running_is_never_answered(void **state)
{
	struct answer answer, next;
	struct lookup *lookup = start(*state, "slow.test", 0, &answer);

	wait_for(&entered);
	lookup_cancel(lookup);
	assert_false(ev_run(*state, 0)); /* nothing is pending any more */

	sem_post(&gate);
	start(*state, "three.test", 0, &next);
	ev_run(*state, 0);
	assert_int_equal(next.calls, 1);
	assert_int_equal(answer.calls, 0);
}

/* CN-7 */
static void cancelled_when_finished_is_never_answered(void **state)
{
	struct answer answer;

	lookup_cancel(start(*state, "::1", 0, &answer));
	assert_false(ev_run(*state, 0));
	assert_int_equal(answer.calls, 0);
}

/* CB-3 */
static void callback_may_cancel_itself_and_others(void **state)
{
	struct answer first, second, third;
	struct lookup *lookup = start(*state, "::1", 0, &first);

	first.cancels = start(*state, "::2", 0, &second);
	ev_run(*state, 0);
	assert_int_equal(first.calls, 1);
	assert_int_equal(second.calls, 0);

	lookup = start(*state, "::3", 0, &third);
	third.cancels = lookup;
	ev_run(*state, 0);
	assert_int_equal(third.calls, 1);
}

static void cancel_takes_null(void **state)
{
	lookup_cancel(NULL);
}

static void restarting_callback(int status, const struct addr *addresses, size_t count, void *ctx)
{
	struct resolve_request request = {.host = "::1"};
	struct lookup *lookup;
	struct ev_loop *loop = ctx;

	ev_break(loop, EVBREAK_ALL);
	assert_int_equal(lookup_start(loop, &request, restarting_callback, loop, &lookup), 0);
	ev_set_userdata(loop, lookup);
}

static void callback_that_looks_up_again_does_not_hold_the_loop(void **state)
{
	struct resolve_request request = {.host = "::1"};
	struct lookup *lookup;

	assert_int_equal(lookup_start(*state, &request, restarting_callback, *state, &lookup), 0);
	ev_run(*state, 0);
	lookup_cancel(ev_userdata(*state));
	assert_false(ev_run(*state, 0));
}

/* What earlier tests cancelled may still be with a thread, and counts until that has returned. */
#define STILL_RUNNING 8

static void more_than_the_bound_are_refused(void **state)
{
	static struct lookup *lookups[LOOKUP_PENDING_MAX + 1];
	struct resolve_request request = {.host = "::1"};
	struct answer answer = {0};
	int started = 0, r = 0;

	while (r == 0 && started < (int)ARRAY_LEN(lookups)) {
		r = lookup_start(*state, &request, on_done, &answer, &lookups[started]);
		started += r == 0;
	}
	assert_int_equal(r, -ENOBUFS);
	assert_in_range(started, LOOKUP_PENDING_MAX - STILL_RUNNING, LOOKUP_PENDING_MAX);
	assert_null(lookups[LOOKUP_PENDING_MAX]);

	lookup_cancel(lookups[17]);
	assert_int_equal(lookup_start(*state, &request, on_done, &answer, &lookups[17]), 0);
	ev_run(*state, 0);
	assert_int_equal(answer.calls, started);
}

static void without_a_thread_nothing_is_pending(void **state)
{
	struct resolve_request request = {.host = "three.test"};
	struct answer answer = {0};
	struct lookup *lookup = NULL;

	atomic_store(&pthread_create_error, EAGAIN);
	assert_int_equal(lookup_start(*state, &request, on_done, &answer, &lookup), -EAGAIN);
	assert_null(lookup);
	assert_false(ev_run(*state, 0));
	assert_int_equal(answer.calls, 0);
}

static void thread_that_runs_serves_a_lookup_that_gets_none(void **state)
{
	struct answer slow, answer;

	start(*state, "slow.test", 0, &slow);
	wait_for(&entered);
	atomic_store(&pthread_create_error, EAGAIN);
	start(*state, "three.test", 0, &answer);
	sem_post(&gate);
	ev_run(*state, 0);
	assert_int_equal(slow.calls, 1);
	assert_int_equal(answer.calls, 1);
}

static void stop_loop(struct ev_loop *loop, ev_timer *timer, int events)
{
	ev_break(loop, EVBREAK_ALL);
}

static void loop_sleeps_between_answers(void **state)
{
	struct answer slow, answer;
	unsigned iterations;
	ev_timer timer;

	start(*state, "slow.test", 0, &slow);
	wait_for(&entered);
	start(*state, "three.test", 0, &answer);
	while (answer.calls == 0)
		ev_run(*state, EVRUN_ONCE);

	iterations = ev_iteration(*state);
	ev_timer_init(&timer, stop_loop, 0.02, 0.);
	ev_timer_start(*state, &timer);
	ev_run(*state, 0);
	assert_in_range(ev_iteration(*state) - iterations, 1, 5);

	sem_post(&gate);
	ev_run(*state, 0);
	assert_int_equal(slow.calls, 1);
}

static void without_a_descriptor_nothing_is_pending(void **state)
{
	struct resolve_request request = {.host = "::1"};
	struct answer answer = {0};
	struct lookup *lookup = NULL;

	atomic_store(&eventfd_error, EMFILE);
	assert_int_equal(lookup_start(*state, &request, on_done, &answer, &lookup), -EMFILE);
	assert_null(lookup);
	assert_false(ev_run(*state, 0));
}

static void *look_up_in_own_loop(void *unused)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	size_t *found = calloc(1, sizeof(*found));
	struct answer answer;

	for (int i = 0; i < 50; i++) {
		start(loop, "three.test", 0, &answer);
		lookup_cancel(start(loop, "cancelled.test", 0, &(struct answer){0}));
		ev_run(loop, 0);
		*found += answer.count;
	}
	ev_loop_destroy(loop);
	return found;
}

static void loops_of_several_threads_get_their_own_answers(void **state)
{
	pthread_t threads[3];

	for (size_t i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(
			__real_pthread_create(&threads[i], NULL, look_up_in_own_loop, NULL), 0);
	for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
		void *found;

		pthread_join(threads[i], &found);
		assert_int_equal(*(size_t *)found, 150);
		free(found);
	}
}

/* Ends well in another program: in this one, a leak checker misses what the threads had. */
static void look_up_in_child(void)
{
	struct ev_loop *loop = ev_loop_new(EVFLAG_AUTO);
	struct answer answer;

	alarm(WATCHDOG_S); /* not inherited */
	start(loop, "three.test", 0, &answer);
	ev_run(loop, 0);
	ev_loop_destroy(loop);
	if (answer.count == 3)
		execl("/bin/true", "true", NULL);
	_exit(1);
}

static void forked_child_looks_up_anew(void **state)
{
#ifdef UNDER_TSAN
	skip(); /* it allows no thread in the child of a process with threads */
#endif
	struct answer answers[LOOKUP_THREADS + 1]; /* the last one waits */
	int status;

	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		start(*state, "slow.test", 0, &answers[i]);
	for (int i = 0; i < LOOKUP_THREADS; i++)
		wait_for(&entered);

	pid_t child = fork();
	if (child == 0)
		look_up_in_child();
	assert_int_equal(waitpid(child, &status, 0), child);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		sem_post(&gate);
	ev_run(*state, 0);

	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	for (size_t i = 0; i < ARRAY_LEN(answers); i++)
		assert_int_equal(answers[i].calls, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(process_may_exit_while_a_lookup_runs), /* first: it forks */
		TEST(literal_host_needs_no_thread),
		TEST(literal_of_the_other_family_is_an_error_without_a_thread),
		TEST(without_a_thread_nothing_is_pending), /* while no thread is left from another
							    */
		TEST(without_a_descriptor_nothing_is_pending),
		TEST(wrong_requests_are_refused_at_once),
		TEST(name_in_etc_hosts_is_found),
		TEST(addresses_keep_the_resolvers_order_and_bear_the_port),
		TEST(endless_answer_is_cut),
		TEST(hints_reach_the_resolver),
		TEST(errors_of_getaddrinfo_become_ours),
		TEST(loop_goes_on_while_the_resolver_blocks),
		TEST(only_a_pending_lookup_keeps_the_loop_alive),
		TEST(loop_sleeps_between_answers),
		TEST(at_most_four_threads_serve_many_names),
		TEST(thread_that_runs_serves_a_lookup_that_gets_none),
		TEST(threads_take_no_signals),
		TEST(answer_comes_though_nothing_can_be_watched),
		TEST(refused_watch_is_made_again),
		TEST(cancelled_while_it_cannot_be_watched_is_forgotten),
		TEST(cancelled_while_queued_is_never_asked),
		TEST(cancelled_while_running_is_never_answered),
		TEST(cancelled_when_finished_is_never_answered),
		TEST(callback_may_cancel_itself_and_others),
		TEST(cancel_takes_null),
		TEST(callback_that_looks_up_again_does_not_hold_the_loop),
		TEST(more_than_the_bound_are_refused),
		TEST(loops_of_several_threads_get_their_own_answers),
		TEST(forked_child_looks_up_anew),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
