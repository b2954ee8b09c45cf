#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "daemon/ctl_show.h"

static void expect(ctl_show_fn *show, const char *json, const char *expected)
{
	json_t *answer = json_loads(json, 0, NULL);
	char text[4096] = "";
	FILE *out = fmemopen(text, sizeof(text), "w");

	assert_non_null(answer);
	assert_int_equal(show(answer, out), 0);
	fclose(out);
	json_decref(answer);
	assert_string_equal(text, expected);
}

static void status_is_three_tables(void **state)
{
	expect(ctl_show_status,
	       "{\"version\":1,\"ok\":true,\"supervisor\":{\"pid\":812,\"version\":\"0.1.0\","
	       "\"state\":\"running\",\"uptime_s\":7385.5,\"config\":\"/etc/usher/usher.yaml\"},"
	       "\"workers\":[{\"worker\":1,\"slot\":0,\"pid\":813,\"state\":\"ready\","
	       "\"age_s\":45.9,\"restarts\":0},{\"worker\":12,\"slot\":1,\"pid\":null,"
	       "\"state\":\"backing-off\",\"age_s\":100000,\"restarts\":3}],"
	       "\"listeners\":[{\"name\":\"echo\",\"address\":\"[::]:8124\",\"kind\":\"tcp\","
	       "\"exclusive\":false,\"distribute\":\"reuse-port\",\"owner\":null,"
	       "\"handler\":\"echo\",\"limit\":null},"
	       "{\"name\":\"status\",\"address\":\"/run/usher/status.sock\",\"kind\":\"unix\","
	       "\"exclusive\":true,\"distribute\":\"shared\",\"owner\":1,"
	       "\"handler\":\"reply\",\"limit\":{\"connections\":100,\"in_use\":98,"
	       "\"turned_away\":7}}]}",
	       "USHERD  PID  STATE    UPTIME  CONFIG\n"
	       "0.1.0   812  running  2h 03m  /etc/usher/usher.yaml\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE           AGE  RESTARTS\n"
	       "     1     0  813  ready           45s         0\n"
	       "    12     1    -  backing-off  1d 03h         3\n"
	       "\n"
	       "LISTENER  ADDRESS                 KIND  EXCLUSIVE  DISTRIBUTE  OWNER  HANDLER"
	       "  IN USE  LIMIT  AWAY\n"
	       "echo      [::]:8124               tcp   no         reuse-port      -  echo   "
	       "       -      -     -\n"
	       "status    /run/usher/status.sock  unix  yes        shared          1  reply  "
	       "      98    100     7\n");
}

static void connections_are_sums_and_a_row_per_worker(void **state)
{
	expect(ctl_show_connections,
	       "{\"version\":1,\"ok\":true,\"connections\":15,\"listeners\":["
	       "{\"name\":\"echo\",\"connections\":12},{\"name\":\"db\",\"connections\":3}],"
	       "\"workers\":[{\"worker\":1,\"slot\":0,\"pid\":813,\"state\":\"ready\","
	       "\"connections\":15,\"stale\":false,\"listeners\":["
	       "{\"name\":\"echo\",\"connections\":12},{\"name\":\"db\",\"connections\":3}]},"
	       "{\"worker\":2,\"slot\":1,\"pid\":814,\"state\":\"draining\",\"connections\":0,"
	       "\"stale\":false,\"listeners\":[]}]}",
	       "LISTENER  CONNECTIONS\n"
	       "echo               12\n"
	       "db                  3\n"
	       "(all)              15\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE     CONNECTIONS  BY LISTENER\n"
	       "     1     0  813  ready              15  echo 12, db 3\n"
	       "     2     1  814  draining            0  -\n");
}

static void what_waits_for_a_worker_has_a_row(void **state)
{
	expect(ctl_show_connections,
	       "{\"connections\":7,\"listeners\":[{\"name\":\"echo\",\"connections\":7}],"
	       "\"workers\":[],\"waiting\":{\"connections\":7,\"listeners\":"
	       "[{\"name\":\"echo\",\"connections\":7}]}}",
	       "LISTENER  CONNECTIONS\n"
	       "echo                7\n"
	       "(all)               7\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE      CONNECTIONS  BY LISTENER\n"
	       "     -     -    -  (waiting)            7  echo 7\n");
}

static void a_worker_is_told_to_rest_and_to_serve(void **state)
{
	expect(ctl_show_worker, "{\"worker\":3,\"state\":\"resting\"}",
	       "worker 3 is resting: it gets no new connections, and serves those it has\n");
	expect(ctl_show_worker, "{\"worker\":3,\"state\":\"ready\"}", "worker 3 is ready\n");
}

static void figures_that_are_old_are_marked(void **state)
{
	expect(ctl_show_connections,
	       "{\"connections\":7,\"listeners\":[],\"workers\":[{\"worker\":1,\"slot\":0,"
	       "\"pid\":813,\"state\":\"ready\",\"connections\":7,\"stale\":true,"
	       "\"listeners\":[]}]}",
	       "LISTENER  CONNECTIONS\n"
	       "(all)               7\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE    CONNECTIONS  BY LISTENER\n"
	       "     1     0  813  ready *            7  -\n"
	       "* did not answer in time: its last known figures\n");
}

/* An answer of another usherd: missing, of other types, or more than we know. */
static void what_an_answer_lacks_is_a_dash(void **state)
{
	expect(ctl_show_status,
	       "{\"workers\":[{\"worker\":\"x\",\"age_s\":-1,\"new\":{}},5],\"listeners\":{}}",
	       "USHERD  PID  STATE  UPTIME  CONFIG\n"
	       "-         -  -           -  -\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE  AGE  RESTARTS\n"
	       "     -     -    -  -        -         -\n"
	       "     -     -    -  -        -         -\n"
	       "\n"
	       "LISTENER  ADDRESS  KIND  EXCLUSIVE  DISTRIBUTE  OWNER  HANDLER  IN USE  LIMIT  "
	       "AWAY\n");
	expect(ctl_show_connections, "{}",
	       "LISTENER  CONNECTIONS\n"
	       "(all)               -\n"
	       "\n"
	       "WORKER  SLOT  PID  STATE  CONNECTIONS  BY LISTENER\n");
}

static void times_have_their_two_largest_units(void **state)
{
	const struct {
		double seconds;
		const char *text;
	} times[] = {
		{0, "0s"},         {59.9, "59s"},       {60, "1m 00s"},
		{3599, "59m 59s"}, {3600, "1h 00m"},    {86399, "23h 59m"},
		{86400, "1d 00h"}, {1e9, "11574d 01h"}, {1e300, "-"},
	};

	for (size_t i = 0; i < ARRAY_LEN(times); i++) {
		json_t *answer = json_pack("{s:{s:f}}", "supervisor", "uptime_s", times[i].seconds);
		char text[4096] = "";
		FILE *out = fmemopen(text, sizeof(text), "w");

		assert_int_equal(ctl_show_status(answer, out), 0);
		fclose(out);
		json_decref(answer);
		if (!strstr(text, times[i].text))
			fail_msg("%s is not in:\n%s", times[i].text, text);
	}
}

static void orders_are_confirmed(void **state)
{
	expect(ctl_show_stop, "{}", "usherd is stopping\n");
	expect(ctl_show_scale, "{\"workers\":4}", "usherd goes to 4 workers\n");
	expect(ctl_show_scale, "{}", "usherd goes to that number of workers\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(status_is_three_tables),
		cmocka_unit_test(connections_are_sums_and_a_row_per_worker),
		cmocka_unit_test(what_waits_for_a_worker_has_a_row),
		cmocka_unit_test(a_worker_is_told_to_rest_and_to_serve),
		cmocka_unit_test(figures_that_are_old_are_marked),
		cmocka_unit_test(what_an_answer_lacks_is_a_dash),
		cmocka_unit_test(times_have_their_two_largest_units),
		cmocka_unit_test(orders_are_confirmed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
