/* Requirements on accepting, closing and counting that the tests of those modules do not show. */
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "common/net/socket.h"
#include "tests/helpers/stage.h"
#include "tests/helpers/wait.h"

/* wrap: accept4 */
int __real_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags);

static unsigned empty_accepts; /* so many calls find the queue empty */

int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *size, int flags)
{
	if (empty_accepts == 0)
		return __real_accept4(fd, addr, size, flags);
	empty_accepts--;
	errno = EAGAIN;
	return -1;
}

static int set_up(void **state)
{
	empty_accepts = 0;
	return stage_set(state);
}

/* --- accepting ------------------------------------------------------------------------------- */

/* AC-3: a Unix peer has no address, no port and no family. */
static void a_drop_on_a_path_has_no_numbers(void **state)
{
	struct stage *stage = *state;
	const struct net_connect_options target = {.path = stage->path};

	stage_open_path(stage, NULL);
	net_server_set_max_connections(stage->host.server, 0);
	stage->client.story = &stage->story;
	assert_int_equal(net_create_connection(stage->story.loop, &target, NULL, &actor_ops,
					       &stage->client, &stage->client.socket),
			 0);
	memset(&stage->host.drop, 0xff, sizeof(stage->host.drop));
	story_run_until(&stage->story, "H.drop");
	assert_int_equal(stage->host.drop.remote.family, 0);
	assert_int_equal(stage->host.drop.remote.port, 0);
	assert_string_equal(stage->host.drop.remote.address, "");
	story_run_until(&stage->story, "C.close");
	assert_false(story_has(&stage->story, "H.connection"));
}

/* AC-3: both ends of a dropped connection are named, with their family. */
static void a_drop_names_both_ends(void **state)
{
	struct stage *stage = *state;
	struct addr addr;
	int fd;

	stage_open(stage, NULL);
	net_server_set_max_connections(stage->host.server, 0);
	fd = plain_connect(&stage->host);
	assert_int_equal(addr_of_socket(fd, &addr), 0);
	story_run_until(&stage->story, "H.drop");
	assert_int_equal(stage->host.drop.remote.family, 4);
	assert_int_equal(stage->host.drop.remote.port, addr_port(&addr));
	assert_int_equal(stage->host.drop.local.family, 4);
	assert_string_equal(stage->host.drop.local.address, "127.0.0.1");
	close(fd);
}

/* OP-4: a v4 client of a dual listener gets v4 packets, which have a mark of their own. */
static void a_mapped_peer_gets_the_marks_of_both_families(void **state)
{
	struct stage *stage = *state;
	int fd;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	assert_int_equal(net_socket_set_type_of_service(stage->guest.socket, 0x48), 0);
	assert_int_equal(option_of(stage->guest.socket, IPPROTO_IP, IP_TOS), 0x48);
	assert_int_equal(option_of(stage->guest.socket, IPPROTO_IPV6, IPV6_TCLASS), 0x48);
	close(fd);
}

static bool polls(const char *name, int fd)
{
	char path[64], line[256];
	bool found = false;
	int target;
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%s", name);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof(line), info))
		found = found || (sscanf(line, "tfd: %d", &target) == 1 && target == fd);
	if (info)
		fclose(info);
	return found;
}

/* Whether the kernel has fd in any epoll set of this process; see proc(5), "fdinfo". */
static bool is_polled(int fd)
{
	DIR *directory = opendir("/proc/self/fdinfo");
	struct dirent *entry;
	bool found = false;

	assert_non_null(directory);
	while ((entry = readdir(directory)))
		found = found || polls(entry->d_name, fd);
	closedir(directory);
	return found;
}

/* KF-1, AC-5: a connection that may be handed to another process was never watched here, or each of
 * its events there would wake us up. */
static void paused_on_connect_the_kernel_is_not_asked_to_watch(void **state)
{
	const struct net_server_options options = {.pause_on_connect = true};
	struct stage *stage = *state;
	int fd;

	stage_open(stage, &options);
	fd = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	story_run_ready(&stage->story);
	/* Before there is data: libev forgets what it no longer watches when that has an event. */
	assert_false(is_polled(stage->guest.socket->io.fd));
	plain_send(fd, "hello");
	net_socket_resume(stage->guest.socket);
	story_run_until(&stage->story, "S.data:5");
	assert_true(is_polled(stage->guest.socket->io.fd));
	close(fd);
}

/* KF-6: connected says that the kernel has the connection, and not that somebody has accepted it.
 */
static void a_connection_that_nobody_has_accepted_is_connected(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	empty_accepts = 4;
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	while (!story_has(&stage->story, "C.ready") && empty_accepts > 0)
		ev_run(stage->story.loop, EVRUN_ONCE);
	assert_string_equal(stage->story.text, "C.connect C.ready ");
	assert_int_equal(net_socket_write(stage->client.socket, "early", 5, NULL, NULL), 1);
	story_run_until(&stage->story, "S.data:5");
}

/* --- closing --------------------------------------------------------------------------------- */

/* SC-2: a connection whose peer has ended is one until our own end. */
static void close_waits_for_half_open_connections(void **state)
{
	const struct net_server_options options = {.allow_half_open = true};
	struct stage *stage = *state;

	stage_open(stage, &options);
	stage_connect(stage, NULL);
	net_server_close(stage->host.server, NULL, NULL);
	net_socket_end(stage->client.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "S.end");
	story_run_ready(&stage->story);
	assert_false(story_has(&stage->story, "H.close"));
	net_socket_end(stage->guest.socket, NULL, 0, NULL, NULL);
	story_run_until(&stage->story, "H.close");
}

/* SC-6: what somebody else has made at the path by now is not the server's to remove. */
static void close_leaves_the_file_of_the_next_server(void **state)
{
	struct stage *stage = *state;
	struct net_server *next;

	stage_open_path(stage, NULL);
	assert_int_equal(unlink(stage->path), 0);
	assert_int_equal(net_create_server(stage->story.loop, NULL, NULL, NULL, &next), 0);
	assert_int_equal(net_server_listen_path(next, stage->path, 0, NULL, NULL), 0);
	net_server_close(stage->host.server, NULL, NULL);
	assert_int_equal(access(stage->path, F_OK), 0);
	net_server_free(next);
	assert_int_equal(access(stage->path, F_OK), -1);
}

static void unref_guest(struct host *host)
{
	net_socket_unref(host->latest);
}

/* SC-9: said before there was a descriptor, it counts once there is one. */
static void unref_before_connect_is_remembered(void **state)
{
	struct stage *stage = *state;

	stage_open(stage, NULL);
	net_server_unref(stage->host.server);
	stage->host.on[ON_CONNECTION] = unref_guest;
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	net_socket_unref(stage->client.socket);
	story_run_until(&stage->story, "C.ready");
	story_run_until(&stage->story, "H.connection");
	assert_false(ev_run(stage->story.loop, EVRUN_NOWAIT));
	net_socket_ref(stage->client.socket);
	assert_true(ev_run(stage->story.loop, EVRUN_NOWAIT));
}

/* --- counting -------------------------------------------------------------------------------- */

/* DF-5: two servers that both asked for any port are two, and neither waits for the other's. */
static void servers_on_any_port_count_for_themselves(void **state)
{
	struct stage *stage = *state;
	struct host other = {.story = &stage->story, .name = "O"};
	int fds[3];

	stage_open(stage, NULL);
	host_open(&other, &stage->story, "O", NULL);
	fds[0] = plain_connect(&stage->host);
	fds[1] = plain_connect(&stage->host);
	while (net_server_connections(stage->host.server) < 2)
		ev_run(stage->story.loop, EVRUN_ONCE);
	fds[2] = plain_connect(&other);
	story_run_until(&stage->story, "O.connection");
	net_server_get_connections(stage->host.server, host_counted, &stage->host);
	net_server_get_connections(other.server, host_counted, &other);
	story_run_until(&stage->story, "O.counted:1");
	assert_true(story_has(&stage->story, "H.counted:2"));

	net_server_close(other.server, NULL, NULL);
	net_socket_destroy(other.latest, 0);
	story_run_until(&stage->story, "O.close");
	assert_int_equal(net_server_connections(stage->host.server), 2);
	net_server_free(other.server);
	for (size_t i = 0; i < ARRAY_LEN(fds); i++)
		close(fds[i]);
}

#define promise(test) cmocka_unit_test_setup_teardown(test, set_up, stage_clear)

int main(void)
{
	const struct CMUnitTest tests[] = {
		promise(a_drop_on_a_path_has_no_numbers),
		promise(a_drop_names_both_ends),
		promise(a_mapped_peer_gets_the_marks_of_both_families),
		promise(paused_on_connect_the_kernel_is_not_asked_to_watch),
		promise(a_connection_that_nobody_has_accepted_is_connected),
		promise(close_waits_for_half_open_connections),
		promise(close_leaves_the_file_of_the_next_server),
		promise(unref_before_connect_is_remembered),
		promise(servers_on_any_port_count_for_themselves),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
