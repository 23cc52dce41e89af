/* What a look depends on, noted so that it can be looked at again much sooner.
 *
 * Belongs here: noting it, and finding the first bar at which it comes out otherwise. Does not belong here: looking for
 * the first time (see looks.c).
 *
 * While a strategy only looks, nothing changes from bar to bar but the bar. What it looked at is then the same at the
 * next bar, except values of lines and lengths and what was calculated from them; and as long as the comparisons of
 * those come out as they did, so does the look. A trace is these calculations, in their order.
 */

#include "looks.h"

void
begin_trace(Trace *trace, PyObject *bar, PyObject *now)
{
    trace->length = 0;
    trace->is_whole = bar != NULL;
    trace->bar = bar;
    trace->now = now;
}

/* Add a term; its place. */
static int
add(Trace *trace, Term term)
{
    if (trace->length == LONGEST_TRACE) {
        trace->is_whole = 0;
        return 0;
    }
    trace->terms[trace->length] = term;
    return trace->length++;
}

static int
follows(Trace *trace, PyObject *clock)
{
    int plain = clock == trace->bar || clock == trace->now;
    trace->is_whole = trace->is_whole && plain;
    return plain;
}

/* A value of a line. */
int
trace_line(Trace *trace, PyObject *clock, PyObject *values, Number back)
{
    return follows(trace, clock) ? add(trace, (Term){READS, .back = (Py_ssize_t)back.whole, .values = values}) : 0;
}

/* The number of bars that there are by now. */
int
trace_length(Trace *trace, PyObject *clock)
{
    return follows(trace, clock) ? add(trace, (Term){COUNTS, .back = 1}) : 0;
}

/* The term that a value is calculated by; one for a number that stays as it is. */
static int
source_of(Trace *trace, Value value)
{
    if (value.source != FIXED)
        return value.source;
    return add(trace, (Term){TAKES, .number = number_of_value(value).value});
}

/* Whole numbers are exact as floats unless they are multiplied. */
static int
is_exact(enum term term, Value a, Value b)
{
    Number one = number_of_value(a), other = number_of_value(b);
    if (term == COMPARES || !both_whole(one, other))
        return 1;
    return term != PRODUCT && fabs(one.value) < 1e9 && fabs(other.value) < 1e9;
}

/* What is calculated from two numbers, or how they compare. */
int
trace_two(Trace *trace, enum term term, int how, Value a, Value b)
{
    if (a.source == FIXED && b.source == FIXED)
        return FIXED;
    trace->is_whole = trace->is_whole && is_exact(term, a, b);
    int first = source_of(trace, a), second = source_of(trace, b);
    return add(trace, (Term){term, first, second, .how = how});
}

int
trace_one(Trace *trace, enum term term, Value value)
{
    return value.source == FIXED ? FIXED : add(trace, (Term){term, value.source});
}

/* The look goes on as it did only while a value is true, or is not. */
void
require(Trace *trace, Value value, int is)
{
    if (value.source != FIXED)
        add(trace, (Term){REQUIRES, value.source, .how = is});
}

/* The look depends on a value in a way that cannot be noted, unless that is the same at all bars. */
void
require_fixed(Trace *trace, Value value)
{
    trace->is_whole = trace->is_whole && value.source == FIXED;
}

static int
compares(double a, double b, int how)
{
    switch (how) {
    case Py_LT: return a < b;
    case Py_LE: return a <= b;
    case Py_EQ: return a == b;
    case Py_NE: return a != b;
    case Py_GT: return a > b;
    default: return a >= b;
    }
}

/* Whether all comes out as it did at another bar. */
static int
holds_at(const Trace *trace, Py_ssize_t step)
{
    double results[LONGEST_TRACE];
    for (int number = 0; number < trace->length; number++) {
        const Term *term = &trace->terms[number];
        double a = number ? results[term->a] : 0.0, b = number ? results[term->b] : 0.0, *result = &results[number];
        Py_ssize_t at = step + term->back;
        switch (term->term) {
        case READS:
            if (at < 0 || at >= Py_SIZE(term->values))
                return 0;
            *result = doubles_of(term->values)[at];
            break;
        case COUNTS: *result = (double)at; break;
        case TAKES: *result = term->number; break;
        case SUM: *result = a + b; break;
        case DIFFERENCE: *result = a - b; break;
        case PRODUCT: *result = a * b; break;
        case QUOTIENT:
            if (b == 0.0)
                return 0;
            *result = a / b;
            break;
        case COMPARES: *result = compares(a, b, term->how); break;
        case DENIES: *result = a == 0.0; break;
        case REQUIRES:
            if ((a != 0.0) != term->how)
                return 0;
            break;
        }
    }
    return 1;
}

/* The first bar from `step` on, at most `stop`, at which it may come out otherwise. */
Py_ssize_t
follow_trace(const Trace *trace, Py_ssize_t step, Py_ssize_t stop)
{
    if (!trace->is_whole)
        return step;
    while (step < stop && holds_at(trace, step))
        step++;
    return step;
}
