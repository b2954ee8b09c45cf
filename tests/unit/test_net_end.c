#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/helpers/story.h"

/* A host H, a client C and the socket S that the host gets for it. */
struct stage {
	struct story story;
	struct host host;
	struct actor client;
	struct actor guest;
};

static int set_stage(void **state)
{
	*state = calloc(1, sizeof(struct stage));
	return *state ? 0 : -1;
}

static int clear_stage(void **state)
{
	free(*state);
	return 0;
}

static void connect_both(struct stage *stage, const struct net_server_options *options)
{
	story_begin(&stage->story);
	host_open(&stage->host, &stage->story, "H", options);
	stage->guest.name = "S";
	stage->host.guests[0] = &stage->guest;
	stage->host.guest_count = 1;
	actor_connect(&stage->client, &stage->story, "C", &stage->host, NULL);
	story_run_until(&stage->story, "H.connection");
	story_run_until(&stage->story, "C.ready");
	story_forget(&stage->story);
}

static void end_all(struct stage *stage)
{
	if (stage->client.socket)
		net_socket_destroy(stage->client.socket, 0);
	if (stage->guest.socket)
		net_socket_destroy(stage->guest.socket, 0);
	net_server_free(stage->host.server);
	story_end(&stage->story);
}

/* EN-3 */
static void the_events_of_an_end_come_in_order(void **state)
{
	struct stage *stage = *state;

	connect_both(stage, NULL);
	assert_int_equal(net_socket_end(stage->client.socket, NULL, 0, NULL, NULL), 0);
	story_run_until(&stage->story, "C.close");
	assert_string_equal(stage->story.text, "C.finish S.end S.finish S.close C.end C.close ");
	end_all(stage);
}

int main(void)
{
#define on_stage(test) cmocka_unit_test_setup_teardown(test, set_stage, clear_stage)
	const struct CMUnitTest tests[] = {
		on_stage(the_events_of_an_end_come_in_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
