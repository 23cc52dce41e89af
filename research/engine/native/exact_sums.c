/* Sums that are rounded once.
 *
 * Belongs here: what `math.fsum` gives for a few finite numbers. Does not belong here: what is added up.
 */

#include "native.h"

enum { MOST_TERMS = 8 };

/* Add a number to parts that do not overlap and whose sum is exact; how many there are then. */
static int
add_exactly(double *parts, int count, double x)
{
    int kept = 0;
    for (int number = 0; number < count; number++) {
        double y = parts[number];
        if (fabs(x) < fabs(y)) {
            double smaller = x;
            x = y;
            y = smaller;
        }
        double high = x + y, low = y - (high - x);
        if (low != 0.0)
            parts[kept++] = low;
        x = high;
    }
    parts[kept++] = x;
    return kept;
}

/* The sum of parts, rounded once, half to even. */
static double
rounded(const double *parts, int count)
{
    double high = parts[--count], low = 0.0;
    while (count > 0 && low == 0.0) {
        double x = high, y = parts[--count];
        high = x + y;
        low = y - (high - x);
    }
    if (count > 0 && ((low < 0.0 && parts[count - 1] < 0.0) || (low > 0.0 && parts[count - 1] > 0.0))) {
        double twice = low * 2.0, x = high + twice; /* a half was rounded, and there is more behind it */
        if (twice == x - high)
            high = x;
    }
    return high;
}

/* math.fsum of at most eight finite numbers. */
double
exact_sum(const double *terms, int count)
{
    double parts[MOST_TERMS];
    int kept = 0;
    for (int number = 0; number < count; number++)
        kept = add_exactly(parts, kept, terms[number]);
    return rounded(parts, kept);
}
