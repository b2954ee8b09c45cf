#include "tests/helpers/load.h"

#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/helpers/wait.h"

static bool is_listening(void *ctx)
{
	struct bare_server *s = ctx;
	AUTO_FREE char *text = process_text(s->process.out);
	char host[108];
	int port;

	if (!strchr(text, '\n') || sscanf(text, "listening %107s %d", host, &port) < 1)
		return false;
	if (host[0] == '/')
		snprintf(s->target, sizeof(s->target), "%s", host);
	else if (strchr(host, ':'))
		snprintf(s->target, sizeof(s->target), "[%s]:%d", host, port);
	else
		snprintf(s->target, sizeof(s->target), "%s:%d", host, port);
	return true;
}

void bare_server_start(struct bare_server *s, const char *program, ...)
{
	char name[64], path[PATH_MAX];
	const char *argv[PROCESS_ARGUMENTS_MAX] = {NULL, "--seconds", "60"};
	va_list args;

	snprintf(name, sizeof(name), "tests/load/%s", program);
	argv[0] = built(name, path);
	va_start(args, program);
	process_arguments(argv, 3, args);
	va_end(args);
	process_start(&s->process, &(struct process_options){.argv = argv});
	assert_true(poll_until(is_listening, s, WAIT_MS));
}

json_t *bare_server_end(struct bare_server *s)
{
	json_t *counts;

	kill(s->process.pid, SIGTERM);
	assert_int_equal(process_wait(&s->process, WAIT_MS), 0);

	AUTO_FREE char *text = process_text(s->process.out);
	counts = json_loads(strchr(text, '{'), 0, NULL);
	assert_non_null(counts);
	json_t *workers = json_incref(json_object_get(counts, "workers"));
	json_decref(counts);
	return workers;
}

json_int_t bare_server_counted(struct bare_server *s, const char *what)
{
	json_t *workers = bare_server_end(s), *row;
	json_int_t sum = 0;
	size_t i;

	json_array_foreach (workers, i, row)
		sum += json_integer_value(json_object_get(row, what));
	json_decref(workers);
	return sum;
}

void bare_server_done(struct bare_server *s)
{
	process_done(&s->process);
}

int load_run(json_t **ret, ...)
{
	char path[PATH_MAX];
	const char *argv[PROCESS_ARGUMENTS_MAX] = {built("usher-load", path), "--json", "--warmup",
						   "0.05"};
	AUTO_FREE char *out = NULL;
	va_list args;
	int status;

	va_start(args, ret);
	process_arguments(argv, 4, args);
	va_end(args);
	status = process_run(&(struct process_options){.argv = argv}, &out, NULL);
	*ret = json_loads(out, 0, NULL);
	return status;
}

json_int_t load_figure(const json_t *report, const char *object, const char *key)
{
	const json_t *value = json_object_get(json_object_get(report, object), key);

	assert_true(json_is_number(value));
	return (json_int_t)json_number_value(value);
}
