#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/macros.h"
#include "tests/load/histogram.h"

#define VALUES 20000

static const double parts[] = {0,   0.001, 0.01, 0.1,   0.25,   0.5,     0.75,
			       0.9, 0.95,  0.99, 0.999, 0.9999, 0.99999, 1};

static struct histogram one, other;
static uint64_t values[VALUES];
static uint64_t seed;

static int empty_histograms(void **state)
{
	memset(&one, 0, sizeof(one));
	memset(&other, 0, sizeof(other));
	seed = 1;
	return 0;
}

static uint64_t random_bits(void)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (seed >> 32 ^ seed << 32) * UINT64_C(0x9e3779b97f4a7c15);
}

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* What the definition says, looked up in the sorted values. */
static uint64_t exact_percentile(double part)
{
	size_t rank = (size_t)ceil(part * VALUES);

	return values[rank > 0 ? rank - 1 : 0];
}

static void expect_percentiles_of_values(const struct histogram *h)
{
	qsort(values, VALUES, sizeof(*values), ascending);
	assert_int_equal(h->count, VALUES);
	for (size_t i = 0; i < ARRAY_LEN(parts); i++) {
		uint64_t exact = exact_percentile(parts[i]),
			 got = histogram_percentile(h, parts[i]);
		uint64_t error = got > exact ? got - exact : exact - got;

		if (error > exact / 250)
			fail_msg("p%g: %llu, exact %llu", parts[i] * 100, (unsigned long long)got,
				 (unsigned long long)exact);
	}
	assert_true(h->min == values[0]);
	assert_true(h->max == values[VALUES - 1]);
}

static void percentiles_are_within_four_thousandths_of_sorted_values(void **state)
{
	for (int shift = 0; shift < 64; shift += 3) {
		empty_histograms(NULL);
		for (size_t i = 0; i < VALUES; i++) {
			values[i] = random_bits() >> shift;
			histogram_add(&one, values[i]);
		}
		expect_percentiles_of_values(&one);
	}
}

/* Latencies: most are near each other, a few are a thousand times as long. */
static void long_tails_keep_their_percentiles(void **state)
{
	for (size_t i = 0; i < VALUES; i++) {
		values[i] = 8000 + random_bits() % 2000;
		if (i % 100 == 0)
			values[i] *= 1 + random_bits() % 1000;
		histogram_add(&one, values[i]);
	}
	expect_percentiles_of_values(&one);
}

static void values_below_128_are_exact(void **state)
{
	for (uint64_t value = 0; value < 128; value++)
		histogram_add(&one, value);
	for (uint64_t value = 1; value <= 128; value++)
		assert_int_equal(histogram_percentile(&one, (double)value / 128), value - 1);
}

static void every_value_has_a_bucket(void **state)
{
	for (int bit = 0; bit < 64; bit++) {
		histogram_add(&one, UINT64_C(1) << bit);
		histogram_add(&one, (UINT64_C(1) << bit) - 1);
	}
	histogram_add(&one, UINT64_MAX);
	assert_int_equal(one.count, 129);
	assert_true(histogram_percentile(&one, 1) == UINT64_MAX);
	assert_int_equal(histogram_percentile(&one, 0), 0);
}

static void merged_histograms_equal_one_that_saw_everything(void **state)
{
	for (size_t i = 0; i < VALUES; i++) {
		values[i] = random_bits() >> (i % 40);
		histogram_add(i % 3 == 0 ? &one : &other, values[i]);
	}
	histogram_merge(&one, &other);
	expect_percentiles_of_values(&one);
}

static void merging_an_empty_one_changes_nothing(void **state)
{
	histogram_add(&one, 5000);
	histogram_merge(&one, &other);
	assert_int_equal(one.count, 1);
	assert_int_equal(one.min, 5000);

	histogram_merge(&other, &one);
	assert_int_equal(other.min, 5000);
	assert_int_equal(histogram_percentile(&other, 0.5), 5000);
}

static void empty_histogram_has_percentile_zero(void **state)
{
	assert_int_equal(histogram_percentile(&one, 0.99), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(percentiles_are_within_four_thousandths_of_sorted_values,
				       empty_histograms),
		cmocka_unit_test_setup(long_tails_keep_their_percentiles, empty_histograms),
		cmocka_unit_test_setup(values_below_128_are_exact, empty_histograms),
		cmocka_unit_test_setup(every_value_has_a_bucket, empty_histograms),
		cmocka_unit_test_setup(merged_histograms_equal_one_that_saw_everything,
				       empty_histograms),
		cmocka_unit_test_setup(merging_an_empty_one_changes_nothing, empty_histograms),
		cmocka_unit_test_setup(empty_histogram_has_percentile_zero, empty_histograms),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
