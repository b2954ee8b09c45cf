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

#define HINT        "see usherctl --help"
#define REASON_SIZE 512

/* Whom to ask, and how. */
struct question {
	const struct ctl_options *options;
	const char *path;
	char reason[REASON_SIZE]; /* why nobody could be asked the last time */
};

/* Finds the reason, with what to do. Returns the exit code. */
static int unreachable(struct question *q, int error)
{
	const char *path = q->path;

	switch (error) {
	case ENOENT:
	case ECONNREFUSED:
		snprintf(q->reason, REASON_SIZE,
			 "no usherd answers at %s (%s); start it (systemctl start usher), or name "
			 "the right socket with -s or its configuration with -c",
			 path, strerror(error));
		return EX_UNAVAILABLE;
	case EACCES:
	case EPERM:
		snprintf(q->reason, REASON_SIZE,
			 "you may not connect to %s; be root or a member of the socket's group",
			 path);
		return EX_NOPERM;
	case ECONNRESET:
		snprintf(q->reason, REASON_SIZE, "usherd at %s went before it answered", path);
		return EX_UNAVAILABLE;
	case ETIMEDOUT:
		snprintf(q->reason, REASON_SIZE,
			 "usherd at %s did not answer within %u s; try again later", path,
			 q->options->timeout_ms / 1000);
		return EX_TEMPFAIL;
	case EPROTO:
		snprintf(q->reason, REASON_SIZE,
			 "what answers at %s is not a usherd of this version", path);
		return EX_SOFTWARE;
	default:
		snprintf(q->reason, REASON_SIZE, "cannot ask usherd at %s: %s", path,
			 strerror(error));
		return EX_OSERR;
	}
}

/* It may quote what came from elsewhere. */
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

/* A ctl_ask_fn that also gives usherd's line, for free(); NULL if there was none. */
static int ask_line(struct question *q, const json_t *request, struct ctl_answer *ret,
		    char **ret_line)
{
	struct ctl_answer answer = {0};
	AUTO_FREE char *line = NULL;
	int r = ctl_call(q->path, request, q->options->timeout_ms, &line);

	if (r == 0)
		r = ctl_answer_parse(line, &answer);
	if (r < 0) {
		answer.exit_code = unreachable(q, -r);
		answer.message = q->reason;
	} else {
		*ret_line = line;
		line = NULL;
	}
	if (answer.message)
		print_message(answer.message);
	*ret = answer;
	return answer.exit_code;
}

static int ask_one(const json_t *request, struct ctl_answer *ret, void *ctx)
{
	AUTO_FREE char *line = NULL;

	return ask_line(ctx, request, ret, &line);
}

static int ask_and_show(struct question *q)
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
	if (q->options->json && line)
		puts(line);
	else if (code == EX_OK && q->options->verb->show(answer.whole, stdout) < 0)
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
