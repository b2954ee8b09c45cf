/* net_server_listen(): arguments, success, failure, and what may follow. */
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
#include "tests/helpers/fds.h"
#include "tests/helpers/stage.h"

/* wrap: getaddrinfo */
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret);

/* No name server is asked, which may be out of reach. */
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
		       struct addrinfo **ret)
{
	if (strcmp(host, "no.such.invalid") == 0)
		return EAI_NONAME;
	return __real_getaddrinfo(host, service, hints, ret);
}

/* A port of 127.0.0.1 on which *ret listens. */
static int busy_port(struct bound *ret)
{
	const struct bind_options options = {.has_port = true, .host = "127.0.0.1"};
	const char *which;

	assert_int_equal(bind_open(&options, ret, &which), 0);
	return addr_port(&ret->addr);
}

/* SL-1 */
static void nothing_to_listen_on_is_refused_at_once(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.backlog = 5}),
			 NET_ERR_INVALID_ARG_VALUE);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "");
}

/* SL-1 */
static void descriptor_comes_before_port_and_port_before_path(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	struct bound bound;
	int port = busy_port(&bound);

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_fd = true,
									    .fd = bound.fd,
									    .has_port = true,
									    .path = stage->path}),
			 0);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_int_equal(address.port, port);
	net_server_close(stage->host.server, NULL, NULL);

	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .path = stage->path}),
			 0);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_int_equal(address.family, 6);
	assert_int_equal(access(stage->path, F_OK), -1);
}

/* SL-2, ER-8 */
static void ports_out_of_range_are_refused_at_once(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_port(stage->host.server, -1, NULL, 0, NULL, NULL),
			 NET_ERR_SOCKET_BAD_PORT);
	assert_int_equal(net_server_listen_port(stage->host.server, 65536, NULL, 0, NULL, NULL),
			 NET_ERR_SOCKET_BAD_PORT);
	assert_int_equal(net_server_listen_port(stage->host.server, 0, NULL, -1, NULL, NULL),
			 NET_ERR_OUT_OF_RANGE);
	assert_false(net_server_listening(stage->host.server));
}

/* SL-3: ss(8) shows the backlog of a listening socket as its send queue; TCP_INFO has it too. */
static void backlog_is_as_given_and_511_without(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	struct addr addr;
	int fds[8], refused = 0;

	stage_create(stage, NULL);
	assert_int_equal(BIND_BACKLOG_DEFAULT, 511);
	assert_int_equal(net_server_listen_path(stage->host.server, stage->path, 1, NULL, NULL), 0);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_int_equal(addr_unix(stage->path, &addr), 0);

	/* Nobody accepts: one more than the backlog fits. */
	for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
		fds[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
		refused += connect(fds[i], &addr.sa, addr.len) == -1 && errno == EAGAIN;
	}
	assert_int_equal(refused, ARRAY_LEN(fds) - 2);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

/* SL-4, CB-1 */
static void without_host_the_address_is_bound_inside_the_call(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, host_done, &stage->host), 0);
	assert_true(net_server_listening(stage->host.server));
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, "::");
	assert_int_not_equal(address.port, 0);
	assert_string_equal(stage->story.text, "");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
}

/* SL-4 */
static void a_host_is_bound_on_a_later_turn(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .host = "127.0.0.1"}),
			 0);
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(net_server_address(stage->host.server, &address), -ENOTCONN);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, "127.0.0.1");
	assert_int_equal(address.family, 4);
}

/* SL-6: and what the resolver refuses is an error of getaddrinfo. */
static void a_name_is_looked_up_off_the_loop(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .host = "localhost"}),
			 0);
	story_run_until(&stage->story, "H.listening");
	net_server_close(stage->host.server, NULL, NULL);
	story_run_until(&stage->story, "H.close");

	assert_int_equal(
		stage_listen_on(stage, (struct net_listen_options){.has_port = true,
								   .host = "no.such.invalid"}),
		0);
	while (stage->host.error == 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_string_equal(stage->host.error_text, "getaddrinfo ENOTFOUND no.such.invalid");
	assert_false(net_server_listening(stage->host.server));
}

static void listen_again(struct host *host)
{
	struct bound *bound = host->other;

	if (bound->fd < 0)
		return;
	bound_close(bound);
	assert_int_equal(net_server_listen_port(host->server, addr_port(&bound->addr), "127.0.0.1",
						0, host_done, host),
			 0);
}

/* SL-7, SL-8, DF-2, ER-1: "listen EADDRINUSE ..." */
static void a_failed_listen_is_one_error_and_may_be_tried_again_inside_it(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	struct bound bound;
	char text[128];
	int port = busy_port(&bound);

	stage_create(stage, NULL);
	stage->host.on[ON_HOST_ERROR] = listen_again;
	stage->host.other = &bound;
	assert_int_equal(net_server_listen_port(stage->host.server, port, "127.0.0.1", 0, host_done,
						&stage->host),
			 0);
	story_run_until(&stage->story, "H.listening");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text,
			    "H.done:EADDRINUSE H.error:EADDRINUSE H.done:0 H.listening ");
	snprintf(text, sizeof(text), "listen EADDRINUSE: address already in use 127.0.0.1:%d",
		 port);
	assert_string_equal(stage->host.error_text, text);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_int_equal(address.port, port);
}

/* SL-7: without a host the failure is told on a later turn too. DF-10: with the real address. */
static void a_failure_inside_the_call_is_told_later(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	struct bound bound;
	char text[128];
	int port = busy_port(&bound);

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_port(stage->host.server, port, NULL, 0, NULL, NULL), 0);
	assert_string_equal(stage->story.text, "");
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(net_server_address(stage->host.server, &address), -ENOTCONN);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.error:EADDRINUSE ");
	snprintf(text, sizeof(text), "listen EADDRINUSE: address already in use [::]:%d", port);
	assert_string_equal(stage->host.error_text, text);
	bound_close(&bound);
}

/* SL-12: two may bind with SO_REUSEADDR, and only listen(2) tells. */
static void busy_at_listen_is_told_like_busy_at_bind(void **state)
{
	struct stage *stage = *state;
	struct addr addr;
	int fd = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	struct bound bound;
	int port = busy_port(&bound);

	bound_close(&bound);
	addr_parse("127.0.0.1", (uint16_t)port, &addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
	stage_create(stage, NULL);
	assert_int_equal(
		net_server_listen_port(stage->host.server, port, "127.0.0.1", 0, NULL, NULL), 0);
	story_run_until(&stage->story, "H.listening");
	net_server_close(stage->host.server, NULL, NULL);
	story_run_until(&stage->story, "H.close");

	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(
		net_server_listen_port(stage->host.server, port, "127.0.0.1", 0, NULL, NULL), 0);
	story_run_until(&stage->story, "H.error:EADDRINUSE");
	assert_non_null(
		strstr(stage->host.error_text, "listen EADDRINUSE: address already in use"));
	close(fd);
}

/* SL-9, ER-6 */
static void a_second_listen_is_refused_and_harms_nothing(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, host_done, &stage->host), 0);
	assert_int_equal(net_server_listen(stage->host.server, NULL, host_done, &stage->host),
			 NET_ERR_SERVER_ALREADY_LISTEN);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:0 H.listening ");
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL),
			 NET_ERR_SERVER_ALREADY_LISTEN);
}

/* SL-9 */
static void while_a_host_waits_the_last_listen_wins(void **state)
{
	struct stage *stage = *state;
	struct net_address address;
	size_t before = open_fd_count();

	stage_create(stage, NULL);
	for (int i = 0; i < 2; i++)
		assert_int_equal(
			stage_listen_on(stage,
					(struct net_listen_options){.has_port = true,
								    .host = i == 0 ? "localhost"
										   : "127.0.0.2"}),
			0);
	story_run_until(&stage->story, "H.listening");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:ECANCELED H.done:0 H.listening ");
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, "127.0.0.2");
	assert_true(await_fd_count(before + 2)); /* it listens, and the loop's for answers */
}

/* SL-10 */
static void close_before_the_news_of_listening_wins(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, host_done, &stage->host), 0);
	assert_int_equal(net_server_close(stage->host.server, host_done, &stage->host), 0);
	assert_false(net_server_listening(stage->host.server));
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.done:ECANCELED H.done:0 H.close ");
}

/* SL-10: the same for a host that is still being looked up. */
static void close_calls_off_a_listen_that_waits(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .host = "localhost"}),
			 0);
	assert_int_equal(net_server_close(stage->host.server, host_done, &stage->host), 0);
	story_run_until(&stage->story, "H.close");
	assert_string_equal(stage->story.text, "H.done:ECANCELED H.done:0 H.close ");
	assert_false(net_server_listening(stage->host.server));
}

/* SL-11 */
static void listening_ends_with_the_call_to_close(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	assert_true(net_server_listening(stage->host.server));
	net_server_close(stage->host.server, NULL, NULL);
	assert_false(net_server_listening(stage->host.server));
	assert_int_equal(net_server_connections(stage->host.server), 1);
}

/* SL-13: owned and closed by the server, non-blocking, and its path stays. */
static void a_descriptor_is_taken_over(void **state)
{
	struct stage *stage = *state;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	struct net_address address;
	struct addr addr;

	addr_unix(stage->path, &addr);
	assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_fd(stage->host.server, fd, 0, NULL, NULL), 0);
	assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
	assert_int_equal(net_server_address(stage->host.server, &address), 0);
	assert_string_equal(address.address, stage->path);
	story_run_until(&stage->story, "H.listening");
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(fcntl(fd, F_GETFL), -1);
	assert_int_equal(access(stage->path, F_OK), 0);
}

/* SL-13 */
static void a_descriptor_that_is_no_socket_is_an_error_later(void **state)
{
	struct stage *stage = *state;
	int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_fd(stage->host.server, fd, 0, NULL, NULL), 0);
	assert_string_equal(stage->story.text, "");
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.error:EINVAL ");
	assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* A server can listen on the handle of another one; each closes its own. */
static void a_handle_is_shared_between_servers(void **state)
{
	struct stage *stage = *state;
	struct net_server *second;
	struct net_address address;
	struct host other = {.story = &stage->story, .name = "O"};

	stage_open(stage, NULL);
	assert_int_equal(net_create_server(stage->story.loop, NULL, &host_ops, &other, &second), 0);
	other.server = second;
	assert_int_equal(net_server_listen(
				 second, &(struct net_listen_options){.server = stage->host.server},
				 NULL, NULL),
			 0);
	story_run_until(&stage->story, "O.listening");
	assert_int_equal(net_server_address(second, &address), 0);
	assert_int_equal(address.port, host_port(&stage->host));

	net_server_close(stage->host.server, NULL, NULL);
	close(plain_connect(&other));
	story_run_until(&stage->story, "O.connection");
	net_socket_destroy(other.latest, 0);
	net_server_free(second);
}

/* SL-14, DF-9 */
static void ipv6_only_is_honoured_without_host(void **state)
{
	struct stage *stage = *state;
	struct bound bound;
	int port = busy_port(&bound);

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.has_port = true,
									    .port = port,
									    .ipv6_only = true}),
			 0);
	story_run_until(&stage->story, "H.listening");
	bound_close(&bound);
}

/* SL-15, DF-8 */
static void the_modes_of_a_path_are_widened_on_demand(void **state)
{
	struct stage *stage = *state;
	mode_t before = umask(022);
	struct stat info;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.path = stage->path,
									    .readable_all = true,
									    .writable_all = true}),
			 0);
	assert_int_equal(stat(stage->path, &info), 0);
	assert_int_equal(info.st_mode & 0777, 0777);
	umask(before);
}

/* SL-15 */
static void an_abstract_name_has_no_modes(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.path = "@stage",
									    .readable_all = true}),
			 NET_ERR_INVALID_ARG_VALUE);
}

/* SL-16 */
static void an_existing_file_is_in_use(void **state)
{
	struct stage *stage = *state;
	char text[128];

	close(open(stage->path, O_CREAT | O_CLOEXEC, 0600));
	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_path(stage->host.server, stage->path, 0, NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_string_equal(stage->story.text, "H.error:EADDRINUSE ");
	snprintf(text, sizeof(text), "listen EADDRINUSE: address already in use %s", stage->path);
	assert_string_equal(stage->host.error_text, text);
	assert_int_equal(access(stage->path, F_OK), 0);
}

/* SL-16: a missing folder is ENOENT here, where Node says EACCES. */
static void a_missing_folder_is_named(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	assert_int_equal(
		net_server_listen_path(stage->host.server, "/no/such/place", 0, NULL, NULL), 0);
	story_run_ready(&stage->story);
	assert_string_equal(stage->host.error_text,
			    "listen ENOENT: no such file or directory /no/such/place");
}

/* Too long a path is refused, not cut; so is an empty one. */
static void a_path_that_does_not_fit_is_refused_at_once(void **state)
{
	struct stage *stage = *state;
	char path[120];

	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	stage_create(stage, NULL);
	assert_int_equal(net_server_listen_path(stage->host.server, path, 0, NULL, NULL),
			 -ENAMETOOLONG);
	assert_int_equal(net_server_listen_path(stage->host.server, "", 0, NULL, NULL), -EINVAL);
}

/* SC-9 */
static void an_unreferenced_server_does_not_keep_the_loop(void **state)
{
	struct stage *stage = *state;

	stage_create(stage, NULL);
	net_server_unref(stage->host.server);
	net_server_unref(stage->host.server);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	ev_run(stage->story.loop, 0);
	assert_string_equal(stage->story.text, "H.listening ");
	net_server_ref(stage->host.server);
	assert_true(ev_run(stage->story.loop, EVRUN_NOWAIT));
	net_server_unref(stage->host.server);
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));
}

/* SL-1: a port speaks for itself, but for 0, which without a mark is none. */
static void a_port_other_than_0_needs_no_mark(void **state)
{
	struct stage *stage = *state;
	struct bound busy;
	int port = busy_port(&busy);

	stage_create(stage, NULL);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.port = 65536}),
			 NET_ERR_SOCKET_BAD_PORT);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.host = "127.0.0.1"}),
			 NET_ERR_INVALID_ARG_VALUE);
	assert_int_equal(stage_listen_on(stage, (struct net_listen_options){.host = "127.0.0.1",
									    .port = port}),
			 0);
	story_run_until(&stage->story, "H.error:EADDRINUSE");
	bound_close(&busy);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(nothing_to_listen_on_is_refused_at_once),
		on_stage(a_port_other_than_0_needs_no_mark),
		on_stage(descriptor_comes_before_port_and_port_before_path),
		on_stage(ports_out_of_range_are_refused_at_once),
		on_stage(backlog_is_as_given_and_511_without),
		on_stage(without_host_the_address_is_bound_inside_the_call),
		on_stage(a_host_is_bound_on_a_later_turn),
		on_stage(a_name_is_looked_up_off_the_loop),
		on_stage(a_failed_listen_is_one_error_and_may_be_tried_again_inside_it),
		on_stage(a_failure_inside_the_call_is_told_later),
		on_stage(busy_at_listen_is_told_like_busy_at_bind),
		on_stage(a_second_listen_is_refused_and_harms_nothing),
		on_stage(while_a_host_waits_the_last_listen_wins),
		on_stage(close_before_the_news_of_listening_wins),
		on_stage(close_calls_off_a_listen_that_waits),
		on_stage(listening_ends_with_the_call_to_close),
		on_stage(a_descriptor_is_taken_over),
		on_stage(a_descriptor_that_is_no_socket_is_an_error_later),
		on_stage(a_handle_is_shared_between_servers),
		on_stage(ipv6_only_is_honoured_without_host),
		on_stage(the_modes_of_a_path_are_widened_on_demand),
		on_stage(an_abstract_name_has_no_modes),
		on_stage(an_existing_file_is_in_use),
		on_stage(a_missing_folder_is_named),
		on_stage(a_path_that_does_not_fit_is_refused_at_once),
		on_stage(an_unreferenced_server_does_not_keep_the_loop),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
