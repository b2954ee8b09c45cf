/* Requirements on listening that the tests of that module do not show: what the kernel is asked,
 * and what happens when it refuses. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "common/net/addr.h"
#include "common/net/bind.h"
#include "tests/helpers/stage.h"

/* wrap: bind listen chmod getaddrinfo */
int __real_bind(int fd, const struct sockaddr *addr, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t size);
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);

static bool without_ipv6;
static int listen_calls, last_backlog;
static int chmod_error;
static const char *answers[2]; /* for some.name */

int __wrap_bind(int fd, const struct sockaddr *addr, socklen_t size)
{
	if (!without_ipv6 || addr->sa_family != AF_INET6)
		return __real_bind(fd, addr, size);
	errno = EADDRNOTAVAIL;
	return -1;
}

int __wrap_listen(int fd, int backlog)
{
	listen_calls++;
	last_backlog = backlog;
	return __real_listen(fd, backlog);
}

int __wrap_chmod(const char *path, mode_t mode)
{
	if (chmod_error == 0)
		return __real_chmod(path, mode);
	errno = chmod_error;
	return -1;
}

int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret)
{
	int r;

	if (strcmp(host, "some.name") != 0 || hints->ai_flags & AI_NUMERICHOST)
		return __real_getaddrinfo(host, service, hints, ret);
	r = __real_getaddrinfo(answers[0], service, hints, ret);
	return r != 0 ? r : __real_getaddrinfo(answers[1], service, hints, &(*ret)->ai_next);
}

static int set_up(void **state)
{
	without_ipv6 = false;
	listen_calls = last_backlog = 0;
	chmod_error = 0;
	return stage_set(state);
}

static struct net_address address_of(const struct net_server *server)
{
	struct net_address address;

	assert_int_equal(net_server_address(server, &address), 0);
	return address;
}

/* A descriptor that listens on 127.0.0.1. */
static int listening_fd(void)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	struct bound bound;
	const char *which;

	assert_int_equal(bind_open(&options, &bound, &which), 0);
	listen_calls = 0;
	return bound.fd;
}

/* --- what to listen on ----------------------------------------------------------------------- */

/* SL-1: a handle comes before a descriptor, which then stays the caller's. */
static void a_handle_comes_before_a_descriptor(void **state)
{
	struct stage *stage = *state;
	struct net_listen_options options = {.has_fd = true, .has_port = true};
	struct net_server *second;

	stage_open(stage, NULL);
	options.fd = listening_fd();
	options.path = stage->path;
	options.server = stage->host.server;
	assert_int_equal(net_create_server(stage->story.loop, NULL, NULL, NULL, &second), 0);
	assert_int_equal(net_server_listen(second, &options, NULL, NULL), 0);
	assert_int_equal(address_of(second).port, host_port(&stage->host));
	net_server_free(second);
	assert_int_equal(close(options.fd), 0);
}

/* SL-3: what listen(2) is called with, for each way to name the backlog. */
static void the_kernel_is_given_the_backlog(void **state)
{
	struct stage *stage = *state;
	struct net_server *server = stage_create(stage, NULL);

	assert_int_equal(net_server_listen(server, NULL, NULL, NULL), 0);
	assert_int_equal(last_backlog, 511);
	net_server_close(server, NULL, NULL);
	assert_int_equal(net_server_listen_port(server, 0, NULL, 7, NULL, NULL), 0);
	assert_int_equal(last_backlog, 7);
	net_server_close(server, NULL, NULL);
	assert_int_equal(net_server_listen_path(server, stage->path, 8, NULL, NULL), 0);
	assert_int_equal(last_backlog, 8);
	net_server_close(server, NULL, NULL);
	assert_int_equal(net_server_listen_port(server, 0, "127.0.0.1", 9, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
	assert_int_equal(last_backlog, 9);
}

/* SL-5: only a real bind tells whether there is IPv6 here. */
static void without_ipv6_the_wildcard_is_that_of_ipv4(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	without_ipv6 = true;
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true}), 0);
	assert_string_equal(address_of(stage->host.server).address, "0.0.0.0");
	assert_int_equal(address_of(stage->host.server).family, 4);
	net_server_close(stage->host.server, NULL, NULL);
}

/* SL-14: who asks for IPv6 only does not get the other one instead. */
static void ipv6_only_has_no_substitute(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	without_ipv6 = true;
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .ipv6_only = true}),
			 0);
	assert_false(net_server_listening(stage->host.server));
	story_run_until(&stage->story, "H.error:EADDRNOTAVAIL");
}

static void assert_listens_at(struct stage *stage, const char *first, const char *second,
			      const char *expected)
{
	answers[0] = first;
	answers[1] = second;
	story_forget(&stage->story);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .host = "some.name"}),
			 0);
	story_run_until(&stage->story, "H.listening");
	assert_string_equal(address_of(stage->host.server).address, expected);
	net_server_close(stage->host.server, NULL, NULL);
}

/* SL-6: the first address, but no link-local one as long as there is another. */
static void of_several_addresses_the_first_is_taken(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_listens_at(stage, "127.0.0.2", "127.0.0.1", "127.0.0.2");
	assert_listens_at(stage, "fe80::1", "127.0.0.3", "127.0.0.3");
}

/* SL-13: the number 0 is a descriptor like any other. */
static void descriptor_zero_is_one(void **state)
{
	struct stage *stage = *state;
	int saved = fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3);
	int fd = listening_fd(), r;
	bool listening;

	assert_int_equal(dup2(fd, STDIN_FILENO), STDIN_FILENO);
	close(fd);
	stage_create(stage, NULL);
	r = net_server_listen_fd(stage->host.server, 0, 0, NULL, NULL);
	listening = net_server_listening(stage->host.server);
	net_server_close(stage->host.server, NULL, NULL);
	dup2(saved, STDIN_FILENO);
	close(saved);
	assert_int_equal(r, 0);
	assert_true(listening);
}

/* KF-3: the queue belongs to all who hold the socket, so who joins does not change its length. */
static void a_shared_socket_keeps_its_queue(void **state)
{
	struct stage *stage = *state;
	struct net_server *second;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_fd(stage->host.server, listening_fd(), 0, NULL, NULL),
			 0);
	assert_int_equal(net_create_server(stage->story.loop, NULL, NULL, NULL, &second), 0);
	assert_int_equal(net_server_listen(
				 second, &(struct net_listen_options){.server = stage->host.server},
				 NULL, NULL),
			 0);
	assert_true(net_server_listening(second));
	assert_int_equal(listen_calls, 0);
	net_server_free(second);
}

/* DF-12: one socket from elsewhere, listened on twice: both serve, and either may go. */
static void an_inherited_socket_may_be_listened_on_twice(void **state)
{
	struct stage *stage = *state;
	struct host other = {.story = &stage->story, .name = "O"};
	int fd = listening_fd(), copy = dup(fd);

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_fd(stage->host.server, fd, 0, NULL, NULL), 0);
	assert_int_equal(
		net_create_server(stage->story.loop, NULL, &host_ops, &other, &other.server), 0);
	assert_int_equal(net_server_listen_fd(other.server, copy, 0, NULL, NULL), 0);
	story_run_until(&stage->story, "O.listening");
	assert_string_equal(stage->story.text, "H.listening O.listening ");

	net_server_close(stage->host.server, NULL, NULL);
	close(plain_connect(&other));
	story_run_until(&stage->story, "O.connection");
	net_socket_destroy(other.latest, 0);
	net_server_free(other.server);
}

/* --- modes ----------------------------------------------------------------------------------- */

static unsigned mode_with(struct stage *stage, bool readable, bool writable)
{
	struct stat info;

	assert_int_equal(
		stage_listen_on(stage, (struct net_listen_options){.path = stage->path,
								   .readable_all = readable,
								   .writable_all = writable}),
		0);
	assert_int_equal(stat(stage->path, &info), 0);
	net_server_close(stage->host.server, NULL, NULL);
	return info.st_mode & 0777;
}

/* SL-15, DF-8 */
static void each_mode_is_widened_by_itself(void **state)
{
	struct stage *stage = *state;
	mode_t before = umask(077);

	stage_create(stage, NULL);
	assert_int_equal(mode_with(stage, false, false), 0700);
	assert_int_equal(mode_with(stage, true, false), 0744);
	assert_int_equal(mode_with(stage, false, true), 0722);
	umask(before);
}

/* SL-15: refused in the call; nothing is left of it. */
static void modes_that_cannot_be_set_are_refused_at_once(void **state)
{
	struct stage *stage = *state;
	mode_t before = umask(022);

	stage_create(stage, NULL);
	chmod_error = EPERM;
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.path = stage->path,
									    .writable_all = true}),
			 -EPERM);
	umask(before);
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(access(stage->path, F_OK), -1);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.path = stage->path}),
			 0);
}

/* --- callbacks ------------------------------------------------------------------------------- */

/* CB-5: without on_error a listen fails, and nothing else happens. */
static void a_failure_without_a_listener_fails_the_listen_only(void **state)
{
	struct stage *stage = *state;
	struct net_server_ops ops = host_ops;
	struct net_server *server;
	int fd = listening_fd();
	struct addr addr;

	assert_int_equal(addr_of_socket(fd, &addr), 0);
	ops.on_error = NULL;
	assert_int_equal(net_create_server(stage->story.loop, NULL, &ops, &stage->host, &server),
			 0);
	stage->host.server = server;
	assert_int_equal(
		net_server_listen_port(server, addr_port(&addr), "127.0.0.1", 0, NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
	assert_false(net_server_listening(server));
	close(fd);
	assert_int_equal(
		net_server_listen_port(server, addr_port(&addr), "127.0.0.1", 0, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
}

/* CB-4: the completion of one listen is not that of the next. */
static void the_completion_of_a_listen_is_called_once(void **state)
{
	struct stage *stage = *state;
	struct net_server *server = stage_create(stage, NULL);

	assert_int_equal(net_server_listen(server, NULL, host_done, &stage->host), 0);
	story_run_until(&stage->story, "H.listening");
	net_server_close(server, NULL, NULL);
	story_run_until(&stage->story, "H.close");
	story_forget(&stage->story);
	assert_int_equal(net_server_listen(server, NULL, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
	assert_string_equal(stage->story.text, "H.listening ");
}

#define promise(test) cmocka_unit_test_setup_teardown(test, set_up, stage_clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		promise(a_handle_comes_before_a_descriptor),
		promise(the_kernel_is_given_the_backlog),
		promise(without_ipv6_the_wildcard_is_that_of_ipv4),
		promise(ipv6_only_has_no_substitute),
		promise(of_several_addresses_the_first_is_taken),
		promise(descriptor_zero_is_one),
		promise(a_shared_socket_keeps_its_queue),
		promise(an_inherited_socket_may_be_listened_on_twice),
		promise(each_mode_is_widened_by_itself),
		promise(modes_that_cannot_be_set_are_refused_at_once),
		promise(a_failure_without_a_listener_fails_the_listen_only),
		promise(the_completion_of_a_listen_is_called_once),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
