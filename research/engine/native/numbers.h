/* Python's numbers in C, with Python's results.
 *
 * Belongs here: integers and floats as Backtrader mixes them (sizes are often integers and stay so). Does not belong
 * here: any other kind of number. What is not an integer or float, or an integer that a float does not hold, is
 * `STRANGE`, and so is whatever is computed of it: the caller then leaves the work to Python, having changed nothing.
 */

#ifndef BARLOOM_NUMBERS_H
#define BARLOOM_NUMBERS_H

#include "native.h"

typedef enum { FLOATING, WHOLE, STRANGE } Kind;

typedef struct {
    Kind kind;
    long long whole; /* of a WHOLE */
    double value;    /* of both */
} Number;

#define EXACT (1LL << 53) /* integers up to here are floats as well */

static inline Number
floating(double value)
{
    return (Number){FLOATING, 0, value};
}

static inline Number
whole(long long value)
{
    return (Number){value > EXACT || value < -EXACT ? STRANGE : WHOLE, value, (double)value};
}

static inline Number
strange(void)
{
    return (Number){STRANGE, 0, 0.0};
}

static inline Number
number_of(PyObject *object)
{
    if (object == NULL)
        return strange();
    if (PyFloat_CheckExact(object))
        return floating(PyFloat_AS_DOUBLE(object));
    if (!PyLong_CheckExact(object))
        return strange();
    int beyond = 0;
    long long value = PyLong_AsLongLongAndOverflow(object, &beyond);
    return beyond ? strange() : whole(value);
}

/* The number of an attribute; strange where it is missing. */
#define number_in(own, name) number_of(found(own, name))

static inline PyObject *
number_object(Number number)
{
    return number.kind == WHOLE ? PyLong_FromLongLong(number.whole) : PyFloat_FromDouble(number.value);
}

/* Set an attribute to a number; -1 with an error set. */
#define number_set(own, name, number) number_set_at(own, name, number_of_##name, number)

static inline int
number_set_at(PyObject *own, PyObject *name, int number_of_name, Number number)
{
    PyObject *object = number_object(number);
    int failed = object == NULL || set_at(own, name, number_of_name, object);
    Py_XDECREF(object);
    return failed ? -1 : 0;
}

static inline int
both_whole(Number a, Number b)
{
    return a.kind == WHOLE && b.kind == WHOLE;
}

static inline int
either_strange(Number a, Number b)
{
    return a.kind == STRANGE || b.kind == STRANGE;
}

static inline Number
sum(Number a, Number b)
{
    if (either_strange(a, b))
        return strange();
    return both_whole(a, b) ? whole(a.whole + b.whole) : floating(a.value + b.value);
}

static inline Number
negative(Number a)
{
    return a.kind == WHOLE ? whole(-a.whole) : (Number){a.kind, 0, -a.value};
}

static inline Number
difference(Number a, Number b)
{
    if (either_strange(a, b))
        return strange();
    return both_whole(a, b) ? whole(a.whole - b.whole) : floating(a.value - b.value);
}

static inline Number
product(Number a, Number b)
{
    if (either_strange(a, b))
        return strange();
    if (!both_whole(a, b))
        return floating(a.value * b.value);
    long long value;
    return __builtin_mul_overflow(a.whole, b.whole, &value) ? strange() : whole(value);
}

/* Strange where Python raises. */
static inline Number
quotient(Number a, Number b)
{
    return either_strange(a, b) || b.value == 0.0 ? strange() : floating(a.value / b.value);
}

static inline Number
magnitude(Number a)
{
    if (a.kind == WHOLE)
        return a.whole < 0 ? whole(-a.whole) : a;
    return (Number){a.kind, 0, fabs(a.value)};
}

/* Comparisons are those of the values: both kinds are exact doubles. */
static inline int
is_zero(Number a)
{
    return a.value == 0.0;
}

#endif
