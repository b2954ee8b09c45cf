/* Servers that programs in workers make: usherd opens what they listen on, once for all of them. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/helpers/ask.h"
#include "tests/helpers/crew.h"
#include "tests/helpers/kernel.h"
#include "tests/helpers/wait.h"

#define WATCHDOG_SECONDS 280

static struct crew crew;

static int setup(void **state)
{
	int r = usher_setup(state);
	struct usher *u = *state;

	if (r == 0)
		crew_open(&crew, u->folder);
	return r;
}

static int teardown(void **state)
{
	crew_done(&crew);
	return usher_teardown(state);
}

/* settings stand before the listener that usherd must have. */
static void start(struct usher *u, unsigned int workers, const char *settings)
{
	/* For a second start as well. */
	static const char *env[] = {crew.variable, NULL};
	static const char *args[] = {"--worker", NULL, NULL};
	static char program[PATH_MAX];

	args[1] = built("tests/helpers/fake_listener", program);
	u->env = env;
	u->args = args;
	usher_configure(u,
			"workers: %u\n%s"
			"listeners:\n"
			"  - {name: mine, path: %s, handler: echo}\n",
			workers, settings, usher_path(u, "mine"));
	usher_start(u);
	crew_await(&crew, workers);
}

/* The port on which a server listens. */
static int heard_port(size_t mate, const char *name)
{
	char beginning[64];

	snprintf(beginning, sizeof(beginning), "%s listening ", name);
	return crew_port(crew_hear(&crew, mate, beginning));
}

static int listen_any(size_t mate, const char *name)
{
	crew_say(&crew, mate, "listen %s port 127.0.0.1 0", name);
	return heard_port(mate, name);
}

/* A port on which nobody listens now. */
static int free_port(size_t mate)
{
	crew_say(&crew, mate, "listen probe port 127.0.0.1 0 exclusive");
	int port = heard_port(mate, "probe");

	crew_say(&crew, mate, "close probe");
	crew_hear(&crew, mate, "probe closed");
	return port;
}

static void listen_on(size_t mate, const char *name, int port)
{
	crew_say(&crew, mate, "listen %s port 127.0.0.1 %d", name, port);
	assert_int_equal(heard_port(mate, name), port);
}

static void close_server(size_t mate, const char *name)
{
	char closed[64];

	snprintf(closed, sizeof(closed), "%s closed", name);
	crew_say(&crew, mate, "close %s", name);
	crew_hear(&crew, mate, closed);
}

static void expect_error(size_t mate, const char *name, const char *error)
{
	char beginning[192];

	snprintf(beginning, sizeof(beginning), "%s error %s", name, error);
	crew_hear(&crew, mate, beginning);
}

static bool refuses(void *ctx)
{
	return tcp_is_refused(*(int *)ctx);
}

static void expect_refused(int port)
{
	assert_true(poll_until(refuses, &port, WAIT_MS));
}

static bool is_missing(void *ctx)
{
	return access(ctx, F_OK) == -1 && errno == ENOENT;
}

static bool exists(const char *path)
{
	return access(path, F_OK) == 0;
}

/* Who greets the client, by pid. */
static pid_t greeter(int fd)
{
	char text[16];
	ssize_t n;

	assert_true(wait_readable(fd, WAIT_MS));
	n = recv(fd, text, sizeof(text) - 1, 0);
	assert_true(n > 0);
	text[n] = '\0';
	return (pid_t)strtol(text, NULL, 10);
}

/* A client that is greeted, and goes. */
static void expect_greeting(const char *host, int port)
{
	AUTO_CLOSE int fd = connect_tcp(host, port);

	assert_true(greeter(fd) > 0);
}

/* --- who shares what ------------------------------------------------------------------------- */

/* LS-1 */
static void a_server_does_not_listen_before_the_supervisor_has_answered(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	crew_say(&crew, 0, "listen_now a port 127.0.0.1 0");
	crew_hear(&crew, 0, "a now nowhere");
	int port = heard_port(0, "a");
	expect_greeting("127.0.0.1", port);
	close_server(0, "a");
}

/* LS-2 */
static void the_same_turn_of_port_0_is_one_port_for_all(void **state)
{
	struct usher *u = *state;

	start(u, 3, "");
	int first = listen_any(0, "a"), second = listen_any(0, "b");

	assert_int_not_equal(first, second);
	for (size_t mate = 1; mate < 3; mate++) {
		assert_int_equal(listen_any(mate, "a"), first);
		assert_int_equal(listen_any(mate, "b"), second);
	}
	assert_int_equal(kernel_tcp_listeners(first), 1);

	/* Once more, while the others stay, is another turn. */
	close_server(0, "a");
	int third = listen_any(0, "a");
	assert_int_not_equal(third, first);
	assert_int_not_equal(third, second);
	for (size_t mate = 0; mate < 3; mate++) {
		close_server(mate, "a");
		close_server(mate, "b");
	}
	expect_refused(first);
	expect_refused(third);
}

/* LS-2: what is spelt in another way is another address, which is taken. */
static void an_address_that_is_spelt_differently_is_in_use(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = free_port(0);
	listen_on(0, "a", port);
	crew_say(&crew, 1, "listen a port :: %d", port);
	expect_error(1, "a", "EADDRINUSE");
	crew_say(&crew, 1, "listen a port localhost %d", port);
	expect_error(1, "a", "EADDRINUSE");
	close_server(0, "a");
}

/* LS-3, DF-10 */
static void a_fixed_port_is_joined_by_others_and_taken_twice_by_nobody(void **state)
{
	struct usher *u = *state;
	char error[128];

	start(u, 2, "");
	int port = free_port(0);
	listen_on(0, "a", port);
	listen_on(1, "a", port);
	crew_say(&crew, 1, "listen b port 127.0.0.1 %d", port);
	snprintf(error, sizeof(error), "EADDRINUSE bind EADDRINUSE 127.0.0.1:%d", port);
	expect_error(1, "b", error);

	/* Whoever closes and listens again joins the others again. */
	close_server(1, "a");
	listen_on(1, "b", port);
	close_server(1, "b");
	close_server(0, "a");
	expect_refused(port);
	listen_on(1, "a", port);
	close_server(1, "a");
}

/* LS-4 */
static void an_exclusive_server_is_the_workers_own(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = listen_any(0, "a");
	crew_say(&crew, 1, "listen own port 127.0.0.1 %d exclusive", port);
	expect_error(1, "own", "EADDRINUSE");

	crew_say(&crew, 0, "listen own port 127.0.0.1 0 exclusive");
	crew_say(&crew, 1, "listen own port 127.0.0.1 0 exclusive");
	int mine = heard_port(0, "own"), others = heard_port(1, "own");
	assert_int_not_equal(mine, others);
	crew_say(&crew, 0, "listen b port 127.0.0.1 %d", others);
	expect_error(0, "b", "EADDRINUSE");

	/* It is said with each call, not once for the server. */
	close_server(1, "own");
	crew_say(&crew, 1, "listen own port 127.0.0.1 0");
	assert_int_equal(heard_port(1, "own"), port);
	close_server(0, "a");
	close_server(0, "own");
	close_server(1, "own");
}

/* LS-5 */
static void an_error_is_told_to_each_and_the_next_attempt_is_a_new_one(void **state)
{
	struct usher *u = *state;

	start(u, 3, "");
	int port = free_port(2);
	crew_say(&crew, 2, "listen own port 127.0.0.1 %d exclusive", port);
	heard_port(2, "own");
	for (size_t mate = 0; mate < 2; mate++) {
		crew_say(&crew, mate, "listen a port 127.0.0.1 %d again", port);
		expect_error(mate, "a", "EADDRINUSE");
		expect_error(mate, "a", "EADDRINUSE");
	}
	close_server(2, "own");
	for (size_t mate = 0; mate < 2; mate++)
		listen_on(mate, "a", port);
	for (size_t mate = 0; mate < 2; mate++)
		close_server(mate, "a");
}

/* LS-5: a name that nobody knows is the error of the lookup. */
static void a_name_is_looked_up_by_the_supervisor(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	crew_say(&crew, 0, "listen a port localhost 0");
	crew_say(&crew, 1, "listen a port localhost 0");
	int port = heard_port(0, "a");
	assert_int_equal(heard_port(1, "a"), port);
	crew_say(&crew, 0, "listen b port no..such.host 80");
	expect_error(0, "b", "");
	close_server(0, "a");
	close_server(1, "a");
}

/* LS-7, KF-3 */
static void the_options_of_the_first_win_and_others_are_noted(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = free_port(0);
	crew_say(&crew, 0, "listen a port 127.0.0.1 %d backlog=5", port);
	heard_port(0, "a");
	crew_say(&crew, 1, "listen a port 127.0.0.1 %d backlog=7", port);
	heard_port(1, "a");
	assert_true(usher_logs(u, "wants another backlog on 127.0.0.1:"));
	close_server(0, "a");
	close_server(1, "a");
}

/* LS-8 */
static void a_worker_that_closes_or_dies_leaves_the_others_undisturbed(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = listen_any(0, "a");
	assert_int_equal(listen_any(1, "a"), port);
	/* Nobody accepts: what waits in the queue is not the first one's. */
	kernel_stop(crew.mates[1].pid);
	kernel_stop(crew.mates[0].pid);
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	crew_kill(&crew, 0);
	kernel_resume(crew.mates[1].pid);
	assert_int_equal(greeter(client), crew.mates[1].pid);

	crew_await(&crew, 1);
	assert_int_equal(listen_any(2, "a"), port);
	close_server(2, "a");
	AUTO_CLOSE int another = connect_tcp("127.0.0.1", port);
	assert_int_equal(greeter(another), crew.mates[1].pid);
	crew_say(&crew, 1, "close a");
	expect_refused(port);
}

/* LS-9: whoever is awake accepts, and a stopped one keeps nobody waiting. */
static void a_stopped_worker_keeps_no_client_waiting(void **state)
{
	struct usher *u = *state;
	int clients[20];

	start(u, 3, "");
	int port = listen_any(0, "a");
	listen_any(1, "a");
	listen_any(2, "a");
	kernel_stop(crew.mates[1].pid);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
		clients[i] = connect_tcp("127.0.0.1", port);
		assert_int_not_equal(greeter(clients[i]), crew.mates[1].pid);
	}
	kernel_resume(crew.mates[1].pid);
	for (size_t i = 0; i < ARRAY_LEN(clients); i++)
		close(clients[i]);
	for (size_t mate = 0; mate < 3; mate++)
		close_server(mate, "a");
}

/* --- paths ----------------------------------------------------------------------------------- */

/* As whom the workers run makes no difference to what is shown. */
static const char *room(const struct usher *u)
{
	const char *path = usher_path(u, "room");

	assert_int_equal(mkdir(path, 0700), 0);
	assert_int_equal(chmod(path, 0777), 0);
	return path;
}

/* LS-6: removed when the last one has closed it, disconnects, or is killed. */
static void a_path_is_removed_with_its_last_holder(void **state)
{
	struct usher *u = *state;
	char path[128];

	start(u, 2, "");
	snprintf(path, sizeof(path), "%s/s", room(u));
	for (size_t mate = 0; mate < 2; mate++) {
		crew_say(&crew, mate, "listen a path %s", path);
		crew_hear(&crew, mate, "a listening ");
	}
	close_server(0, "a");
	assert_true(exists(path));
	AUTO_CLOSE int client = connect_unix(path);
	assert_int_equal(greeter(client), crew.mates[1].pid);
	close(take_fd(&client));
	close_server(1, "a");
	assert_true(poll_until(is_missing, path, WAIT_MS));

	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	crew_say(&crew, 0, "drain");
	assert_true(poll_until(is_missing, path, WAIT_MS));
	crew_await(&crew, 1);

	crew_say(&crew, 1, "listen a path %s", path);
	crew_hear(&crew, 1, "a listening ");
	crew_kill(&crew, 1);
	assert_true(poll_until(is_missing, path, WAIT_MS));
	crew_await(&crew, 1);
}

/* LS-6: the worker knows where it stands; the supervisor may stand elsewhere. */
static void a_relative_path_is_the_workers(void **state)
{
	struct usher *u = *state;
	const char *folder = room(u);
	char path[128];

	start(u, 2, "");
	crew_say(&crew, 0, "folder %s", folder);
	crew_say(&crew, 0, "listen a path s");
	snprintf(path, sizeof(path), "%s/s", folder);
	assert_string_equal(crew_hear(&crew, 0, "a listening "), path);
	crew_say(&crew, 1, "listen a path %s", path);
	crew_hear(&crew, 1, "a listening ");
	close_server(0, "a");
	assert_true(exists(path));
	close_server(1, "a");
	assert_true(poll_until(is_missing, path, WAIT_MS));
}

/* LS-6, SL-16 */
static void a_supervisor_that_is_killed_leaves_the_file(void **state)
{
	struct usher *u = *state;
	char path[128];

	start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", room(u));
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	usher_signal(u, SIGKILL);
	assert_int_equal(usher_ended(u), 128 + SIGKILL);
	crew_expect_gone(&crew, 0);
	assert_true(exists(path));
	assert_int_equal(try_connect_unix(path), -ECONNREFUSED);

	/* It is no worker's to take over. */
	unlink(usher_path(u, "mine"));
	usher_start(u);
	crew_await(&crew, 1);
	crew_say(&crew, 1, "listen a path %s", path);
	expect_error(1, "a", "EADDRINUSE");
	assert_true(exists(path));
}

/* DF-8, SL-15 */
static void modes_of_a_path_are_set_in_shared_mode_too(void **state)
{
	struct usher *u = *state;
	struct stat st;
	char path[128];

	start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", room(u));
	crew_say(&crew, 0, "listen a path %s readable_all writable_all", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0666, 0666);
	close_server(0, "a");
}

/* DF-9 */
static void ipv6_only_is_honoured_in_a_worker_without_a_host(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	crew_say(&crew, 0, "listen a port - 0 ipv6_only");
	int port = heard_port(0, "a");
	assert_int_equal(try_connect_tcp("127.0.0.1", port), -ECONNREFUSED);
	expect_greeting("::1", port);
	close_server(0, "a");
}

/* LS-8: clients are told who listens, and that is not usherd. */
static void the_peer_of_a_path_is_the_worker(void **state)
{
	struct usher *u = *state;
	socklen_t size = sizeof(struct ucred);
	struct ucred peer;
	struct stat st;
	char path[128];

	start(u, 1, "user: nobody\n");
	snprintf(path, sizeof(path), "%s/s", room(u));
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(stat(path, &st), 0);
	AUTO_CLOSE int client = connect_unix(path);
	assert_int_equal(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &peer, &size), 0);
	assert_int_equal(peer.pid, crew.mates[0].pid);
	assert_int_equal(peer.uid, st.st_uid);
	if (geteuid() == 0)
		assert_int_not_equal(st.st_uid, 0);
	close(take_fd(&client));
	close_server(0, "a");
}

/* --- what a worker may ----------------------------------------------------------------------- */

static void need_root(void)
{
	if (geteuid() != 0)
		skip();
}

/* Some port that only root can have. */
static int low_port(void)
{
	for (int port = 1; port < 1024; port++)
		if (tcp_is_refused(port))
			return port;
	skip();
	return -1;
}

static void a_worker_gets_no_port_that_its_user_could_not_have(void **state)
{
	struct usher *u = *state;

	need_root();
	start(u, 1, "user: nobody\n");
	int port = low_port();
	crew_say(&crew, 0, "listen a port 127.0.0.1 %d", port);
	expect_error(0, "a", "EACCES");
	assert_true(usher_logs(u, "allow_listen could grant it"));
	assert_true(tcp_is_refused(port));
	int other = listen_any(0, "b");
	assert_true(other >= 1024);
	close_server(0, "b");
}

static void what_allow_listen_names_is_granted_and_nothing_else(void **state)
{
	struct usher *u = *state;
	int port;
	char settings[128];

	need_root();
	port = low_port();
	snprintf(settings, sizeof(settings), "user: nobody\nallow_listen: [\"127.0.0.1:%d\"]\n",
		 port);
	start(u, 2, settings);
	listen_on(0, "a", port);
	listen_on(1, "a", port);
	expect_greeting("127.0.0.1", port);
	crew_say(&crew, 0, "listen b port 127.0.0.2 %d", port);
	expect_error(0, "b", "EACCES");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	expect_error(0, "b", "EACCES");
	crew_say(&crew, 0, "listen b path @nobody");
	expect_error(0, "b", "EACCES");
	assert_true(usher_logs(u, "may not listen on 127.0.0.2:"));
	assert_true(usher_logs(u, "allow_listen says on what it may"));
	/* By name it is the same address, which is known after a lookup. */
	crew_say(&crew, 0, "listen b port localhost %d", port);
	expect_error(0, "b", "E");
	close_server(0, "a");
	close_server(1, "a");
}

static void an_empty_allow_listen_grants_nothing(void **state)
{
	struct usher *u = *state;

	start(u, 1, "allow_listen: []\n");
	crew_say(&crew, 0, "listen a port 127.0.0.1 0");
	expect_error(0, "a", "EACCES");
	crew_say(&crew, 0, "listen b fd 3");
	expect_error(0, "b", "EACCES");
	assert_true(usher_logs(u, "may not listen on descriptor 3: workers get no descriptor"));
}

static void a_path_needs_the_rights_of_the_workers_user(void **state)
{
	struct usher *u = *state;
	char closed[128], link[128], path[160];

	need_root();
	start(u, 1, "user: nobody\nallow_listen: [/tmp]\n");
	snprintf(closed, sizeof(closed), "%s", usher_path(u, "closed"));
	assert_int_equal(mkdir(closed, 0755), 0);
	crew_say(&crew, 0, "listen a path %s/s", closed);
	expect_error(0, "a", "EACCES");
	snprintf(path, sizeof(path), "%s/s", closed);
	assert_false(exists(path));

	/* Nor by a link in a folder of its own. */
	snprintf(link, sizeof(link), "%s/link", room(u));
	assert_int_equal(symlink(closed, link), 0);
	crew_say(&crew, 0, "listen a path %s/s", link);
	expect_error(0, "a", "EACCES");
	assert_false(exists(path));
	crew_say(&crew, 0, "listen a path /tmp/../run/s");
	expect_error(0, "a", "EACCES");
	assert_true(usher_logs(u, "may not listen on /tmp/../run/s"));
}

/* The file is removed with the same rights that made it. */
static void a_file_that_its_user_may_not_remove_stays(void **state)
{
	struct usher *u = *state;
	char folder[128], path[160];

	need_root();
	start(u, 1, "user: nobody\n");
	snprintf(folder, sizeof(folder), "%s", room(u));
	snprintf(path, sizeof(path), "%s/s", folder);
	crew_say(&crew, 0, "listen a path %s", path);
	crew_hear(&crew, 0, "a listening ");
	assert_int_equal(chmod(folder, 0755), 0);
	close_server(0, "a");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	heard_port(0, "b");
	assert_true(exists(path));
	close_server(0, "b");
}

/* --- the end of workers ---------------------------------------------------------------------- */

/* DF-11: nobody is left who would take the answer. */
static void a_listen_that_its_worker_did_not_live_to_see_harms_nobody(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	kernel_stop(u->process.pid);
	crew_say(&crew, 0, "listen_now a port 127.0.0.1 0");
	crew_hear(&crew, 0, "a now nowhere");
	crew_kill(&crew, 0);
	usher_signal(u, SIGCONT);

	crew_await(&crew, 1);
	expect_greeting("127.0.0.1", listen_any(1, "a"));
	close_server(1, "a");
}

/* WK-6 */
static void a_worker_that_disconnects_gets_an_error(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = listen_any(0, "a");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	greeter(client);
	crew_say(&crew, 0, "drain");
	crew_say(&crew, 0, "listen b port 127.0.0.1 0");
	crew_hear(&crew, 0, "b refused ESHUTDOWN");

	/* WK-5: new clients are refused at once, though it still has one. */
	expect_refused(port);
	close(take_fd(&client));
	crew_expect_gone(&crew, 0);
	crew_await(&crew, 1);
}

/* DF-2: close, and listen again at once, tells nothing of the first time. */
static void closing_and_listening_at_once_is_one_story(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	int port = free_port(0);
	for (int i = 0; i < 200; i++) {
		crew_say(&crew, 0, "listen a port 127.0.0.1 %d\nclose a", port);
		crew_hear(&crew, 0, "a closed");
		crew_say(&crew, 0, "listen b path @%s\nclose b", u->folder);
		crew_hear(&crew, 0, "b closed");
	}
	crew_say(&crew, 0, "listen b path @%s", u->folder);
	crew_hear(&crew, 0, "b listening @");
	close_server(0, "b");
	listen_on(0, "a", port);
	expect_greeting("127.0.0.1", port);
	close_server(0, "a");
	expect_refused(port);
}

/* The address of a client's own end. */
static const char *own_address(int fd, char text[64])
{
	struct sockaddr_in address;
	socklen_t size = sizeof(address);

	assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
	snprintf(text, 64, "%s:%u", inet_ntoa(address.sin_addr), ntohs(address.sin_port));
	return text;
}

/* --- what usherctl shows --------------------------------------------------------------------- */

static const json_t *row_of(const json_t *rows, const char *name)
{
	const json_t *row;
	size_t i;

	json_array_foreach (rows, i, row)
		if (strcmp(json_string_value(json_object_get(row, "name")), name) == 0)
			return row;
	return NULL;
}

/* WK-3, GC-6 */
static void usherctl_shows_who_listens_and_counts_their_connections(void **state)
{
	struct usher *u = *state;
	char name[64];
	int fds[6];

	start(u, 2, "");
	int port = listen_any(0, "a");
	listen_any(1, "a");
	snprintf(name, sizeof(name), "127.0.0.1:%d", port);
	assert_true(usher_logs(u, "listens on 127.0.0.1:"));

	json_t *status = ask_status(u);
	const json_t *row = row_of(json_object_get(status, "listeners"), name);
	assert_non_null(row);
	assert_string_equal(json_string_value(json_object_get(row, "kind")), "tcp");
	assert_int_equal(json_array_size(json_object_get(row, "holders")), 2);
	json_decref(status);

	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", port);
		greeter(fds[i]);
	}
	ask_expect_connections(u, port, ARRAY_LEN(fds));
	char *out;
	assert_int_equal(ask_ctl(u, &out, NULL, "connections", name, NULL), 0);
	assert_non_null(strstr(out, name));
	free(out);

	/* Connections stay in the sum when the server is closed. */
	crew_say(&crew, 0, "close a");
	crew_say(&crew, 1, "close a");
	expect_refused(port);
	assert_int_equal(ask_total(u), ARRAY_LEN(fds));
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	crew_hear(&crew, 0, "a closed");
	crew_hear(&crew, 1, "a closed");
	assert_int_equal(ask_total(u), 0);
	status = ask_status(u);
	assert_null(row_of(json_object_get(status, "listeners"), name));
	json_decref(status);
}

/* What is listed of one listener, or with NULL of all; for json_decref(). */
static json_t *listed(const struct usher *u, const char *name)
{
	AUTO_FREE char *out = NULL;

	assert_int_equal(ask_ctl(u, &out, NULL, "--json", "connections", "--list", name, NULL), 0);
	json_t *answer = json_loads(out, 0, NULL);
	assert_non_null(answer);
	return answer;
}

static const char *text_of(const json_t *row, const char *key)
{
	const char *text = json_string_value(json_object_get(row, key));

	assert_non_null(text);
	return text;
}

/* The client is listed once, as the listener's and with the worker that greeted it. */
static void expect_in_list(const json_t *answer, const char *name, int fd, pid_t pid)
{
	const json_t *row;
	char peer[64];
	size_t i, found = 0;

	own_address(fd, peer);
	json_array_foreach (json_object_get(answer, "connections"), i, row) {
		if (strcmp(text_of(row, "peer"), peer) != 0)
			continue;
		assert_string_equal(text_of(row, "listener"), name);
		assert_int_equal(json_integer_value(json_object_get(row, "pid")), pid);
		found++;
	}
	assert_int_equal(found, 1);
}

static size_t list_size(const struct usher *u, const char *name)
{
	json_t *answer = listed(u, name);
	size_t size = json_array_size(json_object_get(answer, "connections"));

	json_decref(answer);
	return size;
}

static bool lists_nothing(void *ctx)
{
	return list_size(ctx, NULL) == 0;
}

/* WK-3 */
static void usherctl_lists_their_connections(void **state)
{
	struct usher *u = *state;
	char names[2][64];
	pid_t pids[12];
	int fds[12];

	start(u, 2, "");
	int ports[2] = {listen_any(0, "a"), listen_any(0, "b")};
	assert_int_equal(listen_any(1, "a"), ports[0]);
	for (size_t i = 0; i < 2; i++)
		snprintf(names[i], sizeof(names[i]), "127.0.0.1:%d", ports[i]);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", ports[i % 2]);
		pids[i] = greeter(fds[i]);
	}
	AUTO_CLOSE int mine = connect_unix(usher_path(u, "mine"));
	client_expect_echo(mine);

	json_t *all = listed(u, NULL), *first = listed(u, names[0]);
	assert_int_equal(json_array_size(json_object_get(all, "connections")), 13);
	assert_int_equal(json_array_size(json_object_get(first, "connections")), 6);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		expect_in_list(all, names[i % 2], fds[i], pids[i]);
		if (i % 2 == 0)
			expect_in_list(first, names[0], fds[i], pids[i]);
	}
	json_decref(all);
	json_decref(first);
	assert_int_equal(list_size(u, "mine"), 1);

	/* Connections stay in the list when the server is closed. */
	crew_say(&crew, 0, "close b");
	expect_refused(ports[1]);
	all = listed(u, NULL);
	expect_in_list(all, names[1], fds[1], crew.mates[0].pid);
	json_decref(all);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	crew_hear(&crew, 0, "b closed");
	close(take_fd(&mine));
	assert_true(poll_until(lists_nothing, u, WAIT_MS));
	close_server(0, "a");
	close_server(1, "a");
}

/* --- workers that rest ----------------------------------------------------------------------- */

static json_int_t worker_of(struct usher *u, size_t mate)
{
	json_t *status = ask_status(u);
	json_int_t worker = 0;
	const json_t *row;
	size_t i;

	json_array_foreach (json_object_get(status, "workers"), i, row)
		if (json_integer_value(json_object_get(row, "pid")) == crew.mates[mate].pid)
			worker = json_integer_value(json_object_get(row, "worker"));
	json_decref(status);
	assert_true(worker > 0);
	return worker;
}

static void order(struct usher *u, size_t mate, const char *action)
{
	char number[16];

	snprintf(number, sizeof(number), "%d", (int)worker_of(u, mate));
	assert_int_equal(ask_ctl(u, NULL, NULL, "worker", number, action, NULL), 0);
}

/* It has looked at everything that came before. */
static void expect_count(size_t mate, const char *name, int count)
{
	char beginning[64];

	snprintf(beginning, sizeof(beginning), "%s has ", name);
	crew_say(&crew, mate, "count %s", name);
	assert_int_equal(strtol(crew_hear(&crew, mate, beginning), NULL, 10), count);
}

static void a_resting_worker_accepts_nothing_for_its_programs(void **state)
{
	struct usher *u = *state;
	int fds[20], first[4];

	start(u, 2, "");
	int port = listen_any(0, "a");
	for (size_t i = 0; i < ARRAY_LEN(first); i++) {
		first[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(greeter(first[i]), crew.mates[0].pid);
	}
	assert_int_equal(listen_any(1, "a"), port);
	order(u, 0, "drain");
	order(u, 0, "drain");
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = connect_tcp("127.0.0.1", port);
		assert_int_equal(greeter(fds[i]), crew.mates[1].pid);
	}
	expect_count(0, "a", ARRAY_LEN(first));
	ask_expect_connections(u, port, ARRAY_LEN(first) + ARRAY_LEN(fds));

	/* Both rest: who comes waits, and what is there stays. */
	order(u, 1, "drain");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	expect_count(0, "a", ARRAY_LEN(first));
	expect_count(1, "a", ARRAY_LEN(fds));
	assert_false(wait_readable(client, 0));
	order(u, 0, "undrain");
	assert_int_equal(greeter(client), crew.mates[0].pid);
	for (size_t i = 0; i < ARRAY_LEN(first); i++)
		close(first[i]);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
	close(take_fd(&client));
	close_server(0, "a");
	close_server(1, "a");
}

/* On a path, closed and opened again, and by itself: each as it should be after the other. */
static void a_server_that_is_made_while_its_worker_rests_rests(void **state)
{
	struct usher *u = *state;
	char path[128];

	start(u, 1, "");
	snprintf(path, sizeof(path), "%s/s", room(u));
	order(u, 0, "drain");
	for (int i = 0; i < 2; i++) {
		crew_say(&crew, 0, "listen a path %s", path);
		crew_hear(&crew, 0, "a listening ");
		if (i == 0)
			close_server(0, "a");
	}
	AUTO_CLOSE int client = connect_unix(path);
	expect_count(0, "a", 0);
	assert_false(wait_readable(client, 0));
	order(u, 0, "undrain");
	assert_int_equal(greeter(client), crew.mates[0].pid);
	close(take_fd(&client));
	close_server(0, "a");

	/* What is its own is not usherd's to stop. */
	order(u, 0, "drain");
	crew_say(&crew, 0, "listen a port 127.0.0.1 0 exclusive");
	expect_greeting("127.0.0.1", heard_port(0, "a"));
	close_server(0, "a");
}

/* Closing the queue would reset who waits there. */
static void what_waits_for_a_resting_worker_is_served_at_the_stop(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	int port = listen_any(0, "a");
	order(u, 0, "drain");
	AUTO_CLOSE int client = connect_tcp("127.0.0.1", port);
	expect_count(0, "a", 0);
	usher_signal(u, SIGTERM);
	assert_int_equal(greeter(client), crew.mates[0].pid);
	close(take_fd(&client));
	assert_int_equal(usher_ended(u), 0);
}

/* --- whom a connection wakes ----------------------------------------------------------------- */

struct expected {
	pid_t pid;
	size_t count;
};

static bool watches(void *ctx)
{
	const struct expected *expected = ctx;

	return kernel_exclusive_fds(expected->pid) == expected->count;
}

static void expect_exclusive(size_t mate, size_t count)
{
	struct expected expected = {crew.mates[mate].pid, count};

	if (!poll_until(watches, &expected, WAIT_MS))
		fail_msg("%zu descriptors wake one alone, and not %zu",
			 kernel_exclusive_fds(expected.pid), count);
}

/* LS-9: not all of them. One of the descriptors is that of the configured listener. */
static void a_connection_wakes_one_worker(void **state)
{
	struct usher *u = *state;

	start(u, 2, "");
	int port = listen_any(0, "a");
	assert_int_equal(listen_any(1, "a"), port);
	expect_exclusive(0, 2);
	expect_exclusive(1, 2);
	for (int i = 0; i < 20; i++)
		expect_greeting("127.0.0.1", port);
	expect_exclusive(0, 2);
	expect_exclusive(1, 2);

	/* Who would not accept is not woken in the place of another. */
	order(u, 0, "drain");
	expect_exclusive(0, 0);
	for (int i = 0; i < 20; i++)
		expect_greeting("127.0.0.1", port);
	order(u, 0, "undrain");
	expect_exclusive(0, 2);
	order(u, 1, "drain");
	expect_greeting("127.0.0.1", port);
	close_server(0, "a");
	expect_exclusive(0, 1);

	/* One of its own is watched as ever. */
	crew_say(&crew, 0, "listen a port 127.0.0.1 0 exclusive");
	expect_greeting("127.0.0.1", heard_port(0, "a"));
	expect_exclusive(0, 1);
	close_server(0, "a");
	close_server(1, "a");
}

/* --- hostile workers ------------------------------------------------------------------------- */

/* The words of a LISTEN: type, request, kind, port, fd, turn, backlog, flags, and the text. */
static void expect_end_after(struct usher *u, const char *raw)
{
	pid_t pid = crew.mates[crew.count - 1].pid;
	char reason[64];

	crew_say(&crew, crew.count - 1, "raw %s", raw);
	crew_expect_gone(&crew, crew.count - 1);
	snprintf(reason, sizeof(reason), "pid %d) asked for a socket", (int)pid);
	assert_true(usher_logs(u, reason));
	crew_await(&crew, 1);
}

static void what_no_worker_asks_for_ends_it(void **state)
{
	static const char *const packets[] = {
		"14 0 0 0 0 0 0 0",         /* request 0 */
		"14 7 0 0 0 0 0 0",         /* a request out of turn */
		"14 1 3 0 0 0 0 0",         /* an unknown kind */
		"14 1 0 10000 0 0 0 0",     /* a port above 65535 */
		"14 1 0 50 0 0 80000000 0", /* a backlog that is negative */
		"14 1 0 50 0 0 0 8",        /* an unknown flag */
	};
	struct usher *u = *state;

	start(u, 1, "");
	for (size_t i = 0; i < ARRAY_LEN(packets); i++)
		expect_end_after(u, packets[i]);
}

static void texts_that_no_worker_sends_end_it(void **state)
{
	static const char *const packets[] = {
		"14 1 0 50 0 0 0 0 00616161", /* a host with a NUL */
		"14 1 1 0 0 0 0 0 61616161",  /* a path that is relative */
		"14 1 1 0 0 0 0 0",           /* no path */
		"14 1 2 0 3 0 0 0 61616161",  /* a descriptor with a text */
		"17 1",                       /* serving what was never asked for */
		"18 1 0",                     /* giving back what was never asked for */
	};
	struct usher *u = *state;

	start(u, 1, "");
	for (size_t i = 0; i < ARRAY_LEN(packets); i++)
		expect_end_after(u, packets[i]);
}

/* One worker cannot have without end, and what it has goes with it. */
static void one_worker_has_no_more_than_its_share(void **state)
{
	struct usher *u = *state;

	start(u, 1, "");
	int before = kernel_fd_count(u->process.pid);
	for (int i = 0; i < 256; i++)
		crew_say(&crew, 0, "listen s%d port 127.0.0.1 0", i);
	for (int i = 0; i < 256; i++) {
		char name[16];

		snprintf(name, sizeof(name), "s%d", i);
		heard_port(0, name);
	}
	crew_say(&crew, 0, "listen more port 127.0.0.1 0");
	expect_error(0, "more", "ENOBUFS");
	crew_kill(&crew, 0);
	crew_await(&crew, 1);
	assert_true(ask_until_workers(u, "ready", 1));
	int port = listen_any(1, "a");
	assert_true(port > 0);
	close_server(1, "a");
	assert_true(kernel_fd_count(u->process.pid) <= before + 1);
}

#define LISTEN_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		LISTEN_TEST(a_server_does_not_listen_before_the_supervisor_has_answered),
		LISTEN_TEST(the_same_turn_of_port_0_is_one_port_for_all),
		LISTEN_TEST(an_address_that_is_spelt_differently_is_in_use),
		LISTEN_TEST(a_fixed_port_is_joined_by_others_and_taken_twice_by_nobody),
		LISTEN_TEST(an_exclusive_server_is_the_workers_own),
		LISTEN_TEST(an_error_is_told_to_each_and_the_next_attempt_is_a_new_one),
		LISTEN_TEST(a_name_is_looked_up_by_the_supervisor),
		LISTEN_TEST(the_options_of_the_first_win_and_others_are_noted),
		LISTEN_TEST(a_worker_that_closes_or_dies_leaves_the_others_undisturbed),
		LISTEN_TEST(a_stopped_worker_keeps_no_client_waiting),
		LISTEN_TEST(a_path_is_removed_with_its_last_holder),
		LISTEN_TEST(a_relative_path_is_the_workers),
		LISTEN_TEST(a_supervisor_that_is_killed_leaves_the_file),
		LISTEN_TEST(modes_of_a_path_are_set_in_shared_mode_too),
		LISTEN_TEST(ipv6_only_is_honoured_in_a_worker_without_a_host),
		LISTEN_TEST(the_peer_of_a_path_is_the_worker),
		LISTEN_TEST(a_worker_gets_no_port_that_its_user_could_not_have),
		LISTEN_TEST(what_allow_listen_names_is_granted_and_nothing_else),
		LISTEN_TEST(an_empty_allow_listen_grants_nothing),
		LISTEN_TEST(a_path_needs_the_rights_of_the_workers_user),
		LISTEN_TEST(a_file_that_its_user_may_not_remove_stays),
		LISTEN_TEST(a_listen_that_its_worker_did_not_live_to_see_harms_nobody),
		LISTEN_TEST(a_worker_that_disconnects_gets_an_error),
		LISTEN_TEST(closing_and_listening_at_once_is_one_story),
		LISTEN_TEST(usherctl_shows_who_listens_and_counts_their_connections),
		LISTEN_TEST(usherctl_lists_their_connections),
		LISTEN_TEST(a_resting_worker_accepts_nothing_for_its_programs),
		LISTEN_TEST(a_server_that_is_made_while_its_worker_rests_rests),
		LISTEN_TEST(what_waits_for_a_resting_worker_is_served_at_the_stop),
		LISTEN_TEST(a_connection_wakes_one_worker),
		LISTEN_TEST(what_no_worker_asks_for_ends_it),
		LISTEN_TEST(texts_that_no_worker_sends_end_it),
		LISTEN_TEST(one_worker_has_no_more_than_its_share),
	};

	watchdog(WATCHDOG_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
