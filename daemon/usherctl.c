/* usherctl: asks a running usherd over its control socket. See usherctl(1). */
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "common/macros.h"
#include "daemon/config.h"
#include "daemon/control_request.h"
#include "daemon/ctl_answer.h"
#include "daemon/ctl_call.h"
#include "daemon/ctl_list.h"
#include "daemon/ctl_options.h"
#include "daemon/ctl_socket.h"

#define HINT "see usherctl --help"

/* Says why nobody could be asked, and what to do. */
static int unreachable(const char *path, unsigned int timeout_ms, int error)
{
	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		fprintf(stderr,
			"usherctl: no usherd answers at %s (%s); start it (systemctl start usher), "
			"or "
			"name the right socket with -s or its configuration with -c\n",
			path, strerror(error));
		return EX_UNAVAILABLE;
	case EACCES:
	case EPERM:
		fprintf(stderr,
			"usherctl: you may not connect to %s; be root or a member of the socket's "
			"group\n",
			path);
		return EX_NOPERM;
	case ECONNRESET:
		fprintf(stderr, "usherctl: usherd at %s went before it answered\n", path);
		return EX_UNAVAILABLE;
	case ETIMEDOUT:
		fprintf(stderr,
			"usherctl: usherd at %s did not answer within %u s; try again later\n",
			path, timeout_ms / 1000);
		return EX_TEMPFAIL;
	case EPROTO:
		fprintf(stderr, "usherctl: what answers at %s is not a usherd of this version\n",
			path);
		return EX_SOFTWARE;
	default:
		fprintf(stderr, "usherctl: cannot ask usherd at %s: %s\n", path, strerror(error));
		return EX_OSERR;
	}
}

/* Messages are usherd's, but may quote what came from elsewhere. */
static void print_message(const char *message)
{
	fputs("usherctl: ", stderr);
	for (; *message; message++)
		fputc((unsigned char)*message < 0x20 || *message == 0x7f ? '?' : *message, stderr);
	fputc('\n', stderr);
}

/* A full disk or a closed pipe must not look like success. */
static int end_of_output(int code)
{
	if (fflush(stdout) == EOF || ferror(stdout)) {
		fprintf(stderr, "usherctl: cannot write the answer\n");
		return EX_IOERR;
	}
	return code;
}

/* Whom to ask, and how. */
struct question {
	const struct ctl_options *options;
	const char *path;
};

/* A ctl_ask_fn that also gives the line of the answer, for free(), unless it is refused. */
static int ask_line(const struct question *q, const json_t *request, struct ctl_answer *ret,
		    char **ret_line)
{
	AUTO_FREE char *line = NULL;
	struct ctl_answer answer = {0};
	int code, r;

	r = ctl_call(q->path, request, q->options->timeout_ms, &line);
	if (r == 0)
		r = ctl_answer_parse(line, &answer);
	if (r < 0)
		return unreachable(q->path, q->options->timeout_ms, -r);
	if (answer.exit_code == 0) {
		*ret = answer;
		*ret_line = line;
		line = NULL;
		return EX_OK;
	}
	if (q->options->json)
		puts(line);
	print_message(answer.message);
	code = answer.exit_code;
	ctl_answer_done(&answer);
	return code;
}

static int ask_one(const json_t *request, struct ctl_answer *ret, void *ctx)
{
	AUTO_FREE char *line = NULL;

	return ask_line(ctx, request, ret, &line);
}

static int ask_and_show(const struct question *q)
{
	AUTO_FREE char *line = NULL;
	struct ctl_answer answer;
	json_t *request;
	size_t which;
	int code;

	if (ctl_verb_request(q->options->verb, q->options->operands, &request, &which) < 0) {
		fputs("usherctl: out of memory\n", stderr);
		return EX_OSERR;
	}
	code = ask_line(q, request, &answer, &line);
	json_decref(request);
	if (code != EX_OK)
		return code;
	if (q->options->json)
		puts(line);
	else if (q->options->verb->show(answer.whole, stdout) < 0)
		code = EX_IOERR;
	ctl_answer_done(&answer);
	return code;
}

static int ask(const struct ctl_options *options)
{
	AUTO_FREE char *path = NULL;
	struct question q = {.options = options};
	int code = ctl_socket_find(options, &path);

	if (code != EX_OK)
		return code;
	q.path = path;
	code = options->list ? ctl_list(options, ask_one, &q, stdout) : ask_and_show(&q);
	return end_of_output(code);
}

static void print_build(void)
{
	printf("usherctl %s\nprotocol: %d\nconfiguration: %s\n", USHER_VERSION, CONTROL_VERSION,
	       USHER_CONFIG);
}

int main(int argc, char **argv)
{
	char complaint[CTL_COMPLAINT_SIZE];
	struct ctl_options options;

	if (ctl_options_parse(argc, argv, &options, complaint) < 0) {
		fprintf(stderr, "usherctl: %s; " HINT "\n", complaint);
		return EX_USAGE;
	}

	switch (options.wish) {
	case CTL_HELP:
		ctl_options_help(options.verb, stdout);
		break;
	case CTL_VERSION:
		printf("usherctl %s\n", USHER_VERSION);
		break;
	case CTL_BUILD:
		print_build();
		break;
	case CTL_ASK:
		return ask(&options);
	}
	return fflush(stdout) == EOF ? EX_IOERR : EX_OK;
}
