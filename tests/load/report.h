/* What a run gave, for people or for programs.
 *
 * Errors: 0, or -ENOMEM, or -EIO when it could not be written.
 * Source: usher-load(1) explains every figure. */
#ifndef USHER_TESTS_LOAD_REPORT_H
#define USHER_TESTS_LOAD_REPORT_H

#include "tests/load/options.h"
#include "tests/load/run.h"

int report_json(const struct load_options *options, const struct run_result *result);
int report_table(const struct load_options *options, const struct run_result *result);

#endif
