/* Counting and closing of a server whose sockets are in other processes: real ones, which stop and
 * die at the worst of times. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/cluster/tracking.h"
#include "tests/helpers/fds.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/post.h"
#include "tests/helpers/wait.h"

#define FARS    3
#define CLIENTS 32

/* A process that keeps the sockets it gets, and closes as many as it is told. */
struct far {
	pid_t pid; /* 0: none, or dead */
	struct post_end end;
};

/* A server of ours, which gives its next connection to a process, or keeps it. */
struct origin {
	struct host host; /* what is told of it */
	struct post_end *to;
	struct net_socket *kept[CLIENTS];
	size_t kept_count;
	size_t arrived;
	int clients[CLIENTS];
	size_t client_count;
};

struct scene {
	struct post *post;
	struct story *story;
	struct far fars[FARS];
	struct origin one;
	struct origin two;
};

/* What is pending runs at the start of a run, and would not keep it from sleeping after that. */
#define RUN_UNTIL(s, condition)                               \
	do {                                                  \
		ev_run((s)->story->loop, EVRUN_NOWAIT);       \
		if (!(condition))                             \
			ev_run((s)->story->loop, EVRUN_ONCE); \
	} while (!(condition))

/* --- a far process --------------------------------------------------------------------------- */

static void on_order(struct post_end *end, const struct mail_message *m)
{
	long count = strncmp(end->data, "close ", 6) == 0 ? strtol(end->data + 6, NULL, 10) : 0;

	while (count-- > 0 && end->socket_count > 0) {
		struct net_socket *s = end->sockets[--end->socket_count];

		net_socket_destroy(s, 0);
		net_socket_release(s);
	}
}

_Noreturn static void far_main(int fd)
{
	static struct post_end end;
	static struct story story;

	/* A copy of anything else would keep it open. */
	if (dup2(fd, 3) == -1)
		_exit(71);
	close_range(4, ~0u, 0);
	alarm(60);
	story.loop = ev_loop_new(EVFLAG_AUTO);
	if (!story.loop)
		_exit(71);
	end.is_quiet = true;
	end.on_message = on_order;
	post_end_open(&end, &story, "F", 3, IPC_WORKER);
	while (!end.is_lost)
		ev_run(story.loop, EVRUN_ONCE);
	_exit(0);
}

static void far_start(struct scene *s, struct far *far)
{
	int fds[2];

	assert_int_equal(channel_pair(fds), 0);
	far->pid = fork();
	assert_true(far->pid >= 0);
	if (far->pid == 0)
		far_main(fds[1]);
	close_fd(fds[1]);
	far->end = (struct post_end){.is_quiet = true};
	post_end_open(&far->end, s->story, "A", fds[0], IPC_SUPERVISOR);
}

/* Ends the process. Its channel's end is still to be seen by the loop. */
static void far_kill(struct far *far)
{
	if (far->pid == 0)
		return;
	kill(far->pid, SIGKILL);
	waitpid(far->pid, NULL, 0);
	far->pid = 0;
}

static void far_order(struct far *far, const char *order)
{
	size_t dones = far->end.dones;

	assert_int_equal(post_text(&far->end, order), 1);
	post_run_dones(&far->end, dones + 1);
}

/* --- our servers ----------------------------------------------------------------------------- */

static void on_connection(struct net_server *server, struct net_socket *s, void *ctx)
{
	struct origin *o = ctx;

	o->arrived++;
	if (o->to) {
		assert_true(post_socket(o->to, "s", s) >= 0);
		return;
	}
	assert_in_range(o->kept_count, 0, CLIENTS - 1);
	net_socket_hold(s);
	o->kept[o->kept_count++] = s;
}

static void on_server_close(struct net_server *server, void *ctx)
{
	struct origin *o = ctx;

	story_tell(o->host.story, "%s.close", o->host.name);
}

static const struct net_server_ops origin_ops = {.on_connection = on_connection,
						 .on_close = on_server_close};

static void origin_open(struct scene *s, struct origin *o, const char *name)
{
	static const struct net_server_options options = {.pause_on_connect = true};

	o->host = (struct host){.story = s->story, .name = name};
	assert_int_equal(
		net_create_server(s->story->loop, &options, &origin_ops, o, &o->host.server), 0);
	assert_int_equal(
		net_server_listen_port(o->host.server, 0, "127.0.0.1", 0, host_done, &o->host), 0);
	RUN_UNTIL(s, net_server_listening(o->host.server));
	story_run_ready(s->story);
	story_forget(s->story);
}

/* So many connections, which that process has then, or we if it is NULL. */
static void origin_connect(struct scene *s, struct origin *o, struct far *to, size_t count)
{
	size_t arrived = o->arrived + count, dones = to ? to->end.dones + count : 0;

	o->to = to ? &to->end : NULL;
	for (size_t i = 0; i < count; i++) {
		assert_in_range(o->client_count, 0, CLIENTS - 1);
		o->clients[o->client_count++] = plain_connect(&o->host);
	}
	RUN_UNTIL(s, o->arrived >= arrived);
	if (to)
		post_run_dones(&to->end, dones);
}

static void origin_end(struct origin *o)
{
	for (size_t i = 0; i < o->kept_count; i++) {
		net_socket_destroy(o->kept[i], 0);
		net_socket_release(o->kept[i]);
	}
	o->kept_count = 0;
	for (size_t i = 0; i < o->client_count; i++)
		close_fd(o->clients[i]);
	net_server_free(o->host.server);
	o->host.server = NULL;
}

static void ask_count(struct origin *o)
{
	assert_int_equal(net_server_get_connections(o->host.server, host_counted, &o->host), 0);
}

static bool is_late(int64_t began_ms)
{
	return now_ms() - began_ms >= TRACKING_DEADLINE_MS;
}

/* Returns whether all were there to answer, before the deadline. */
static bool count_once(struct scene *s, struct origin *o)
{
	int64_t began_ms = now_ms();

	story_forget(s->story);
	ask_count(o);
	assert_string_equal(s->story->text, "");
	/* What else comes meanwhile, as the loss of a process, may come first. */
	RUN_UNTIL(s, strstr(s->story->text, ".counted:"));
	return !is_late(began_ms);
}

/* A process that got no processor until the deadline is asked again. */
static void expect_count(struct scene *s, struct origin *o, size_t count)
{
	char word[32];

	snprintf(word, sizeof(word), "%s.counted:%zu", o->host.name, count);
	while (!count_once(s, o) && !story_has(s->story, word))
		;
	if (!story_has(s->story, word))
		fail_msg("not %s but %s", word, s->story->text);
}

/* --- the scene ------------------------------------------------------------------------------- */

static int set(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));
	void *post = NULL;

	if (!s || post_set(&post) < 0)
		return -1;
	s->post = post;
	s->story = &s->post->stage->story;
	for (size_t i = 0; i < FARS; i++)
		far_start(s, &s->fars[i]);
	origin_open(s, &s->one, "1");
	origin_open(s, &s->two, "2");
	*state = s;
	return 0;
}

static int clear(void **state)
{
	struct scene *s = *state;
	void *post = s->post;

	origin_end(&s->one);
	origin_end(&s->two);
	for (size_t i = 0; i < FARS; i++) {
		far_kill(&s->fars[i]);
		post_end_close(&s->fars[i].end);
	}
	free(s);
	return post_clear(&post);
}

#define in_scene(test) cmocka_unit_test_setup_teardown(test, set, clear)

/* Plays what must be over before the deadline, in a new scene for as long as a process got no
 * processor until then: play returns false if it was too late. */
static void play_in_time(void **state, bool (*play)(struct scene *s))
{
	for (int tries = 1; !play(*state); tries++) {
		assert_in_range(tries, 1, 20);
		assert_int_equal(clear(state), 0);
		assert_int_equal(set(state), 0);
	}
}

/* --- counting -------------------------------------------------------------------------------- */

/* GC-1: also of one that does not listen. */
static void without_sent_sockets_the_count_is_ours(void **state)
{
	struct scene *s = *state;

	expect_count(s, &s->one, 0);
	origin_connect(s, &s->one, NULL, 2);
	expect_count(s, &s->one, 2);
}

/* GC-2, GC-5, IP-6 */
static void the_count_is_that_of_all_processes(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, NULL, 2);
	origin_connect(s, &s->one, &s->fars[0], 3);
	origin_connect(s, &s->one, &s->fars[1], 2);
	assert_int_equal(net_server_connections(s->one.host.server), 2);
	expect_count(s, &s->one, 7);
	far_order(&s->fars[0], "close 2");
	expect_count(s, &s->one, 5);
	far_order(&s->fars[0], "close 1");
	far_order(&s->fars[1], "close 2");
	expect_count(s, &s->one, 2);
	origin_connect(s, &s->one, &s->fars[0], 1);
	expect_count(s, &s->one, 3);
}

static bool ask_at_once(struct scene *s)
{
	int64_t began_ms;

	origin_connect(s, &s->one, &s->fars[0], 3);
	origin_connect(s, &s->two, &s->fars[0], 1);
	began_ms = now_ms();
	ask_count(&s->one);
	assert_int_equal(post_text(&s->fars[0].end, "close 1"), 1);
	ask_count(&s->one);
	ask_count(&s->two);
	RUN_UNTIL(s, strstr(s->story->text, "2.counted:"));
	if (is_late(began_ms))
		return false;
	story_run_ready(s->story);
	assert_string_equal(s->story->text, "1.counted:3 1.counted:3 2.counted:0 ");
	return true;
}

/* GC-5: each gets its own answer, once. */
static void questions_at_once_do_not_mix(void **state)
{
	play_in_time(state, ask_at_once);
}

/* DF-5: two servers that were both asked for port 0. */
static void servers_on_any_port_are_counted_apart(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, &s->fars[0], 2);
	origin_connect(s, &s->two, &s->fars[0], 1);
	expect_count(s, &s->one, 2);
	expect_count(s, &s->two, 1);

	/* The close of one waits for none of the other's. */
	net_server_close(s->two.host.server, host_done, &s->two.host);
	story_run_ready(s->story);
	assert_false(story_has(s->story, "2.close"));
	far_order(&s->fars[0], "close 1");
	story_run_until(s->story, "2.close");
	expect_count(s, &s->one, 2);
}

/* DF-6, GC-5: after the deadline the last known figure counts, and a late answer harms nobody. */
static void a_stopped_process_counts_with_what_was_known(void **state)
{
	struct scene *s = *state;
	size_t calls;

	origin_connect(s, &s->one, &s->fars[0], 3);
	origin_connect(s, &s->one, &s->fars[1], 2);
	expect_count(s, &s->one, 5);
	far_order(&s->fars[1], "close 1");
	kernel_stop(s->fars[0].pid);
	expect_count(s, &s->one, 4);

	kill(s->fars[0].pid, SIGCONT);
	far_order(&s->fars[0], "close 1");
	expect_count(s, &s->one, 3);
	calls = story_count(s->story, "1.counted:3");
	story_run_ready(s->story);
	assert_int_equal(story_count(s->story, "1.counted:3"), calls);
}

/* GC-3 */
static void a_dead_process_counts_nothing(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, NULL, 1);
	origin_connect(s, &s->one, &s->fars[0], 3);
	origin_connect(s, &s->one, &s->fars[1], 2);
	far_kill(&s->fars[0]);
	expect_count(s, &s->one, 3);
	far_kill(&s->fars[1]);
	expect_count(s, &s->one, 1);
}

static bool die_while_asked(struct scene *s)
{
	int64_t began_ms;

	origin_connect(s, &s->one, NULL, 1);
	origin_connect(s, &s->one, &s->fars[0], 3);
	origin_connect(s, &s->one, &s->fars[1], 2);
	kernel_stop(s->fars[0].pid);
	kernel_stop(s->fars[1].pid);
	began_ms = now_ms();
	ask_count(&s->one);
	story_run_ready(s->story);
	if (is_late(began_ms))
		return false;
	assert_string_equal(s->story->text, "");
	far_kill(&s->fars[0]);
	far_kill(&s->fars[1]);
	RUN_UNTIL(s, strstr(s->story->text, "1.counted:"));
	if (is_late(began_ms))
		return false;
	story_run_ms(s->story, 30);
	assert_int_equal(story_count(s->story, "1.counted:1"), 1);
	return true;
}

/* GC-3, DF-4: the answer comes, and once. */
static void two_that_die_while_they_are_asked_are_answered_for_once(void **state)
{
	play_in_time(state, die_while_asked);
}

static void nobody_is_told_of_a_count_after_a_free(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, &s->fars[0], 1);
	kernel_stop(s->fars[0].pid);
	ask_count(&s->one);
	ask_count(&s->one);
	net_server_free(s->one.host.server);
	s->one.host.server = NULL;
	story_run_ready(s->story);
	assert_string_equal(s->story->text, "");
	kill(s->fars[0].pid, SIGCONT);
	far_order(&s->fars[0], "close 1");
	origin_connect(s, &s->two, &s->fars[0], 1);
	expect_count(s, &s->two, 1);
}

/* --- closing --------------------------------------------------------------------------------- */

/* GC-4, SC-8, KF-2: the clients see their end when the last copy is closed, and not before. */
static void a_close_waits_for_all_processes(void **state)
{
	struct scene *s = *state;
	char byte;

	origin_connect(s, &s->one, &s->fars[0], 1);
	origin_connect(s, &s->one, &s->fars[1], 1);
	origin_connect(s, &s->one, NULL, 1);
	assert_int_equal(net_server_close(s->one.host.server, host_done, &s->one.host), 0);
	far_order(&s->fars[0], "close 1");
	assert_int_equal(recv(s->one.clients[0], &byte, 1, 0), 0);
	assert_int_equal(recv(s->one.clients[1], &byte, 1, MSG_DONTWAIT), -1);
	story_run_ready(s->story);
	net_socket_destroy(s->one.kept[0], 0);
	story_run_ms(s->story, 30);
	assert_string_equal(s->story->text, "");

	far_order(&s->fars[1], "close 1");
	story_run_until(s->story, "1.close");
	assert_string_equal(s->story->text, "1.done:0 1.close ");
	assert_int_equal(recv(s->one.clients[1], &byte, 1, 0), 0);
}

/* GC-4: as with one that is asked when they have all ended. */
static void a_close_after_all_have_ended_comes_at_once(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, &s->fars[0], 2);
	far_order(&s->fars[0], "close 2");
	assert_int_equal(net_server_close(s->one.host.server, NULL, NULL), 0);
	assert_string_equal(s->story->text, "");
	story_run_until(s->story, "1.close");
}

/* GC-4, DF-4: death counts as an answer. */
static void a_close_does_not_wait_for_the_dead(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, &s->fars[0], 2);
	origin_connect(s, &s->one, &s->fars[1], 2);
	assert_int_equal(net_server_close(s->one.host.server, NULL, NULL), 0);
	far_kill(&s->fars[0]);
	story_run_ms(s->story, 30);
	assert_false(story_has(s->story, "1.close"));
	far_kill(&s->fars[1]);
	story_run_until(s->story, "1.close");

	/* All are dead that ever had one. */
	origin_connect(s, &s->two, &s->fars[2], 1);
	far_kill(&s->fars[2]);
	story_run_ms(s->story, 30);
	assert_int_equal(net_server_close(s->two.host.server, NULL, NULL), 0);
	story_run_until(s->story, "2.close");
	assert_int_equal(story_count(s->story, "1.close"), 1);
}

/* GC-4: what is sent after the close is waited for as well. */
static void a_close_waits_for_what_is_sent_after_it(void **state)
{
	struct scene *s = *state;
	struct net_socket *kept;

	origin_connect(s, &s->one, &s->fars[0], 1);
	origin_connect(s, &s->one, NULL, 1);
	assert_int_equal(net_server_close(s->one.host.server, NULL, NULL), 0);
	far_order(&s->fars[0], "close 1");
	kept = s->one.kept[--s->one.kept_count];
	assert_int_equal(post_socket(&s->fars[0].end, "s", kept), 1);
	net_socket_release(kept);
	post_run_dones(&s->fars[0].end, 3);
	story_run_ms(s->story, 30);
	assert_string_equal(s->story->text, "");
	far_order(&s->fars[0], "close 1");
	story_run_until(s->story, "1.close");
}

/* GC-4, SL-8: a server that was closed so may listen and send again. */
static void a_closed_server_starts_anew(void **state)
{
	struct scene *s = *state;

	origin_connect(s, &s->one, &s->fars[0], 1);
	net_server_close(s->one.host.server, NULL, NULL);
	far_order(&s->fars[0], "close 1");
	story_run_until(s->story, "1.close");
	story_forget(s->story);
	net_server_listen_port(s->one.host.server, 0, "127.0.0.1", 0, host_done, &s->one.host);
	story_run_until(s->story, "1.done:0");
	origin_connect(s, &s->one, &s->fars[0], 2);
	expect_count(s, &s->one, 2);
	net_server_close(s->one.host.server, NULL, NULL);
	story_run_ms(s->story, 30);
	assert_false(story_has(s->story, "1.close"));
	far_order(&s->fars[0], "close 2");
	story_run_until(s->story, "1.close");
}

/* --- on the way ------------------------------------------------------------------------------ */

/* The bare end's side of a hand-over: takes the handle, and does not answer. */
static uint32_t take_handle(struct post *post, uint32_t ret_key[2])
{
	struct ipc_message m;
	int fd;

	do
		assert_true(post_bare_take(post, &m, &fd));
	while (m.type == IPC_MAIL);
	assert_int_equal(m.type, IPC_HANDLE);
	const struct ipc_handle *head = m.body;
	memcpy(ret_key, head->key, sizeof(head->key));
	close_fd(fd);
	return head->number;
}

static uint32_t take_question(struct post *post, enum ipc_type type)
{
	struct ipc_message m;
	int fd;

	do
		assert_true(post_bare_take(post, &m, &fd));
	while (m.type == IPC_MAIL);
	assert_int_equal(m.type, type);
	return ((const struct ipc_sockets *)m.body)->request;
}

static void say_count(struct post *post, uint32_t request, uint32_t count)
{
	post_bare_send(post, IPC_SOCKETS_COUNTED, &(struct ipc_sockets_counted){request, count},
		       NULL, 0, -1);
}

/* A connection of server one, sent to the bare end. */
static uint32_t send_to_bare(struct scene *s, uint32_t ret_key[2])
{
	size_t arrived = s->one.arrived + 1;

	s->one.to = &s->post->a;
	s->one.clients[s->one.client_count++] = plain_connect(&s->one.host);
	RUN_UNTIL(s, s->one.arrived >= arrived);
	return take_handle(s->post, ret_key);
}

static void await_another_try(struct scene *s)
{
	struct ipc_message m;
	int fd;

	while (!post_bare_take(s->post, &m, &fd))
		ev_run(s->story->loop, EVRUN_ONCE);
	assert_int_equal(m.type, IPC_HANDLE);
	close_fd(fd);
}

/* GC-2, IP-4: sent and not answered is the sender's, answered and not counted the receiver's. */
static void a_socket_on_its_way_counts_once(void **state)
{
	struct scene *s = *state;
	uint32_t key[2], number, request;

	post_go_bare(s->post);
	s->post->a.is_quiet = true;
	number = send_to_bare(s, key);
	assert_int_equal(net_server_connections(s->one.host.server), 0);
	expect_count(s, &s->one, 1);
	post_bare_answer(s->post, number, 0);

	/* It is asked, and before its answer another socket leaves. */
	story_run_ready(s->story);
	story_forget(s->story);
	ask_count(&s->one);
	request = take_question(s->post, IPC_SOCKETS_COUNT);
	number = send_to_bare(s, key);
	say_count(s->post, request, 1);
	post_bare_answer(s->post, number, 0);
	story_run_until(s->story, "1.counted:2");

	/* The one is refused for good: it is nobody's. */
	number = send_to_bare(s, key);
	for (int i = 0; i < 3; i++) {
		post_bare_answer(s->post, number, EMFILE);
		await_another_try(s);
	}
	post_bare_answer(s->post, number, EMFILE);
	story_run_ready(s->story);
	story_forget(s->story);
	ask_count(&s->one);
	request = take_question(s->post, IPC_SOCKETS_COUNT);
	say_count(s->post, request, 2);
	story_run_until(s->story, "1.counted:2");
}

/* GC-4: nor does a close end while one is on its way. */
static void a_close_waits_for_what_is_on_its_way(void **state)
{
	struct scene *s = *state;
	uint32_t key[2], number, request;

	post_go_bare(s->post);
	s->post->a.is_quiet = true;
	number = send_to_bare(s, key);
	net_server_close(s->one.host.server, NULL, NULL);
	story_run_ms(s->story, 30);
	assert_string_equal(s->story->text, "");
	post_bare_answer(s->post, number, 0);
	request = take_question(s->post, IPC_SOCKETS_CLOSE);
	post_bare_send(s->post, IPC_SOCKETS_CLOSED, &(struct ipc_sockets_closed){request + 1}, NULL,
		       0, -1);
	story_run_ready(s->story);
	assert_string_equal(s->story->text, "");
	post_bare_send(s->post, IPC_SOCKETS_CLOSED, &(struct ipc_sockets_closed){request}, NULL, 0,
		       -1);
	story_run_until(s->story, "1.close");
}

/* GC-4, GC-6: while it waits to be sent again it is on its way, and open. */
static void a_socket_that_is_sent_again_counts_and_is_waited_for(void **state)
{
	struct scene *s = *state;
	uint32_t key[2], number;

	post_go_bare(s->post);
	s->post->a.is_quiet = true;
	number = send_to_bare(s, key);
	net_server_close(s->one.host.server, NULL, NULL);
	for (int i = 0; i < 3; i++) {
		post_bare_answer(s->post, number, EMFILE);
		story_run_ready(s->story);
		assert_string_equal(s->story->text, "");
		expect_count(s, &s->one, 1);
		story_forget(s->story);
		await_another_try(s);
		assert_string_equal(s->story->text, "");
	}
	post_bare_answer(s->post, number, EMFILE);
	story_run_until(s->story, "1.close");
	assert_int_equal(s->post->a.status, -EMFILE);
}

static bool count_too_many(struct scene *s)
{
	uint32_t key[2], number, request;
	int64_t began_ms;

	post_go_bare(s->post);
	s->post->a.is_quiet = true;
	number = send_to_bare(s, key);
	post_bare_answer(s->post, number, 0);
	story_run_ready(s->story);
	began_ms = now_ms();
	ask_count(&s->one);
	request = take_question(s->post, IPC_SOCKETS_COUNT);
	say_count(s->post, request, 2);
	RUN_UNTIL(s, strstr(s->story->text, "1.counted:"));
	if (is_late(began_ms))
		return false;
	story_run_until(s->story, "A.lost:EPROTO");
	story_run_until(s->story, "1.counted:0");
	return true;
}

/* GC-2: nobody can have more than he was sent. */
static void a_process_that_counts_too_many_is_not_believed(void **state)
{
	play_in_time(state, count_too_many);
}

/* Keys that it never sent have no sockets, and are no reason to wait. */
static void questions_for_unknown_keys_are_answered(void **state)
{
	struct scene *s = *state;
	struct ipc_sockets question = {.request = 7, .key = {99, 99}};
	struct ipc_message m;
	int fd;

	post_go_bare(s->post);
	post_bare_send(s->post, IPC_SOCKETS_COUNT, &question, NULL, 0, -1);
	assert_true(post_bare_take(s->post, &m, &fd));
	assert_int_equal(m.type, IPC_SOCKETS_COUNTED);
	assert_int_equal(((const struct ipc_sockets_counted *)m.body)->request, 7);
	assert_int_equal(((const struct ipc_sockets_counted *)m.body)->count, 0);
	question.request = 8;
	post_bare_send(s->post, IPC_SOCKETS_CLOSE, &question, NULL, 0, -1);
	assert_true(post_bare_take(s->post, &m, &fd));
	assert_int_equal(m.type, IPC_SOCKETS_CLOSED);
	assert_int_equal(((const struct ipc_sockets_closed *)m.body)->request, 8);
}

/* GC-2: one that is kept open here is counted here, and only here. */
static void a_socket_that_is_kept_open_counts_once(void **state)
{
	struct scene *s = *state;
	struct mail_handle kept = {.keep_open = true};

	origin_connect(s, &s->one, NULL, 1);
	kept.socket = s->one.kept[0];
	assert_int_equal(post_send(&s->fars[0].end, "s", 1, &kept), 1);
	post_run_dones(&s->fars[0].end, 1);
	expect_count(s, &s->one, 1);
	net_server_close(s->one.host.server, NULL, NULL);
	net_socket_destroy(s->one.kept[0], 0);
	story_run_until(s->story, "1.close");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		in_scene(without_sent_sockets_the_count_is_ours),
		in_scene(the_count_is_that_of_all_processes),
		in_scene(questions_at_once_do_not_mix),
		in_scene(servers_on_any_port_are_counted_apart),
		in_scene(a_stopped_process_counts_with_what_was_known),
		in_scene(a_dead_process_counts_nothing),
		in_scene(two_that_die_while_they_are_asked_are_answered_for_once),
		in_scene(nobody_is_told_of_a_count_after_a_free),
		in_scene(a_close_waits_for_all_processes),
		in_scene(a_close_after_all_have_ended_comes_at_once),
		in_scene(a_close_does_not_wait_for_the_dead),
		in_scene(a_close_waits_for_what_is_sent_after_it),
		in_scene(a_closed_server_starts_anew),
		in_scene(a_socket_on_its_way_counts_once),
		in_scene(a_close_waits_for_what_is_on_its_way),
		in_scene(a_socket_that_is_sent_again_counts_and_is_waited_for),
		in_scene(a_process_that_counts_too_many_is_not_believed),
		in_scene(questions_for_unknown_keys_are_answered),
		in_scene(a_socket_that_is_kept_open_counts_once),
	};

	return cmocka_run_group_tests_name("tracking", tests, NULL, NULL);
}
