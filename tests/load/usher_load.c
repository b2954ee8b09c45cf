/* usher-load: makes load for servers that send back what they get. See usher-load(1). */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sysexits.h>

#include "common/net/net.h"
#include "tests/load/options.h"
#include "tests/load/report.h"
#include "tests/load/run.h"

static int status_of(const struct run_result *result)
{
	const uint64_t *failures = result->tally.failures;

	if (failures[FAILED_BYTES] > 0)
		return EX_DATAERR;
	if (result->tally.connected == 0)
		return EX_UNAVAILABLE;
	if (failures[FAILED_CONNECT] + failures[FAILED_CONNECTION] + failures[FAILED_ANSWER] > 0)
		return EX_PROTOCOL;
	return EX_OK;
}

__attribute__((noreturn)) static void refuse(const struct run_result *result, int error)
{
	if (error == -ESRCH)
		errx(EX_NOINPUT, "there is no process with that --server-pid");
	if (error == -ENOTCONN)
		errx(EX_UNAVAILABLE, "%s", result->tally.complaint);
	if (error == -ECHILD)
		errx(EX_SOFTWARE, "a process of the load has died");
	errx(EX_UNAVAILABLE, "%s", net_error_message(error));
}

int main(int argc, char *argv[])
{
	struct load_options options;
	struct run_result *result = malloc(sizeof(*result));
	int r, status;

	if (!result)
		errx(EX_OSERR, "out of memory");
	signal(SIGPIPE, SIG_IGN);
	load_options_parse(&options, argc, argv);
	r = run_load(&options, result);
	if (r < 0)
		refuse(result, r);

	r = options.json ? report_json(&options, result) : report_table(&options, result);
	if (r < 0)
		errx(EX_IOERR, "cannot write the report: %s", net_error_message(r));
	status = status_of(result);
	free(result);
	return status;
}
