/* The addresses of both ends of a socket, before, during and after its connection. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/macros.h"
#include "common/net/net.h"
#include "tests/helpers/stage.h"

/* AD-1 */
static void addresses_are_those_of_the_kernel(void **state)
{
	struct stage *stage = *state;
	struct net_address local, remote;

	stage_connected(stage);
	assert_int_equal(net_socket_address(stage->client.socket, &local), 0);
	assert_int_equal(net_socket_remote_address(stage->guest.socket, &remote), 0);
	assert_string_equal(local.address, "127.0.0.1");
	assert_int_equal(local.port, remote.port);
	assert_int_equal(net_socket_remote_port(stage->client.socket), host_port(&stage->host));
	assert_int_equal(net_socket_local_port(stage->guest.socket), host_port(&stage->host));
	assert_int_equal(net_socket_remote_family(stage->client.socket), 4);
	assert_int_equal(net_socket_local_family(stage->client.socket), 4);
}

/* AD-1 */
static void an_unconnected_socket_has_no_address(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_unconnected(stage);
	assert_int_equal(net_socket_address(stage->client.socket, &address), -ENOTCONN);
	assert_int_equal(net_socket_remote_address(stage->client.socket, &address), -ENOTCONN);
	assert_int_equal(net_socket_remote_port(stage->client.socket), -ENOTCONN);
}

/* AD-1, AD-3: no port and family 0 for Unix sockets; a client knows the path. */
static void unix_sockets_have_paths_for_addresses(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_open_path(stage, NULL);
	stage_connect(stage, NULL);
	assert_int_equal(net_socket_remote_address(stage->client.socket, &address), 0);
	assert_string_equal(address.address, stage->path);
	assert_int_equal(address.family, 0);
	assert_int_equal(net_socket_remote_address(stage->guest.socket, &address), 0);
	assert_string_equal(address.address, "");
	assert_int_equal(net_socket_remote_port(stage->guest.socket), 0);
}

/* AD-2 */
static void a_v4_client_of_a_dual_listener_is_a_mapped_address(void **state)
{
	struct stage *stage = *state;
	struct net_address address;

	stage_create(stage, NULL);
	assert_int_equal(net_server_listen(stage->host.server, NULL, NULL, NULL), 0);
	AUTO_CLOSE int client = plain_connect(&stage->host);
	story_run_until(&stage->story, "H.connection");
	assert_int_equal(net_socket_remote_address(stage->guest.socket, &address), 0);
	assert_string_equal(address.address, "::ffff:127.0.0.1");
	assert_int_equal(address.family, 6);
}

static void note_remote_port(struct actor *actor)
{
	actor->status = net_socket_remote_port(actor->socket);
}

/* AD-3 */
static void the_remote_address_is_known_after_the_end(void **state)
{
	struct stage *stage = *state;

	stage_connected(stage);
	stage->client.on[ON_CLOSE] = note_remote_port;
	net_socket_destroy(stage->client.socket, 0);
	story_run_until(&stage->story, "C.close");
	assert_int_equal(stage->client.status, host_port(&stage->host));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		on_stage(addresses_are_those_of_the_kernel),
		on_stage(an_unconnected_socket_has_no_address),
		on_stage(unix_sockets_have_paths_for_addresses),
		on_stage(a_v4_client_of_a_dual_listener_is_a_mapped_address),
		on_stage(the_remote_address_is_known_after_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
