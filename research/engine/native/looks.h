/* Values that are looked at, and where they are found.
 *
 * Belongs here: what looks.c and looked_up.c share. Does not belong here: anything that changes something.
 */

#ifndef BARLOOM_LOOKS_H
#define BARLOOM_LOOKS_H

#include "orders.h"

/* A value at hand: a borrowed object, or a mark that says what the number is; and what it is calculated from. */
typedef struct {
    PyObject *thing;
    double number;
    int source; /* the term of the trace that calculates it at any bar; FIXED if it is the same at all of them */
} Value;

enum { FIXED = -1 };

#define FLOAT_MARK ((PyObject *)NULL)         /* a float that was computed */
#define WHOLE_MARK (&look_marks[0])           /* an integer that was computed */
#define NOTHING_MARK (&look_marks[1])         /* a variable that has no value */
#define ITERATION_MARK (&look_marks[2])       /* a loop over a list */
#define GETPOSITION_MARK (&look_marks[3])     /* the method `getposition` of the strategy */

extern PyObject look_marks[4]; /* only their addresses are used */

/* What an attribute of a type's objects is. */
enum kind { UNKNOWN, OWN, OWN_OR_CLASS, POSITION_OF, GETPOSITION_OF };

/* What a step found the last time, which it is again while types and dictionaries are the same; borrowed. */
typedef struct {
    PyTypeObject *type;
    unsigned int type_version;
    enum kind kind;
    PyObject *of_class;
    int is_known;
    uint64_t seen[3]; /* states of dictionaries */
    PyObject *found[3];
    PyObject *broker, *first; /* of a position */
} Memory;

/* Python 3.11 gives every state of a dictionary a number; later ones do not, and everything is looked up anew, as it is
 * in dictionaries whose values are set at their places. */
#if PY_VERSION_HEX < 0x030C0000
#define VERSION(dict) (shape_of(dict) != NULL ? 0 : ((PyDictObject *)(dict))->ma_version_tag)
#else
#define VERSION(dict) ((void)(dict), (uint64_t)0)
#endif

static inline int
is_object(Value value)
{
    return value.thing != NULL && !(value.thing >= look_marks && value.thing < look_marks + 4);
}

static inline Value
of_thing(PyObject *thing)
{
    return (Value){thing, 0.0, FIXED};
}

static inline Value
of_number(Number number, int source)
{
    PyObject *mark = number.kind == WHOLE ? WHOLE_MARK : number.kind == FLOATING ? FLOAT_MARK : NOTHING_MARK;
    return (Value){mark, number.value, source};
}

static inline Value
nothing(void)
{
    return of_thing(NOTHING_MARK);
}

/* The number that a value is; strange where it is none. */
static inline Number
number_of_value(Value value)
{
    if (value.thing == FLOAT_MARK)
        return floating(value.number);
    if (value.thing == WHOLE_MARK)
        return whole((long long)value.number);
    return is_object(value) ? number_of(value.thing) : strange();
}

/* The attributes that an object keeps in a dictionary; borrowed, NULL without an error. */
static inline PyObject *
own_of(PyObject *thing)
{
    PyObject **own = _PyObject_GetDictPtr(thing);
    return own == NULL ? NULL : *own;
}

static inline PyObject *
found_in(PyObject *own, PyObject *name)
{
    return own == NULL ? NULL : PyDict_GetItemWithError(own, name);
}

/* ---------------------------------------------------------------- traces (see traces.c) */

enum { LONGEST_TRACE = 64 };

enum term {
    READS, COUNTS, TAKES, SUM, DIFFERENCE, PRODUCT, QUOTIENT, COMPARES, DENIES, REQUIRES
};

typedef struct {
    enum term term;
    int a, b;         /* terms that it is calculated from */
    int how;          /* the comparison; the truth that is required */
    Py_ssize_t back;  /* of a line, from the present bar; what is added to the bar */
    double number;    /* that it takes */
    PyObject *values; /* that it reads; borrowed */
} Term;

typedef struct {
    int length;
    int is_whole; /* whether all that was looked at is in it */
    PyObject *bar, *now; /* the clocks that all lines have to follow; borrowed */
    Term terms[LONGEST_TRACE];
} Trace;

void begin_trace(Trace *trace, PyObject *bar, PyObject *now);
int trace_line(Trace *trace, PyObject *clock, PyObject *values, Number back);
int trace_length(Trace *trace, PyObject *clock);
int trace_two(Trace *trace, enum term term, int how, Value a, Value b);
int trace_one(Trace *trace, enum term term, Value value);
void require(Trace *trace, Value value, int is);
void require_fixed(Trace *trace, Value value);
Py_ssize_t follow_trace(const Trace *trace, Py_ssize_t step, Py_ssize_t stop);

/* ---------------------------------------------------------------- reading (see looked_up.c) */

PyObject *attribute_at(Memory *memory, PyObject *thing, PyObject *name);
int is_getposition(Memory *memory, PyObject *thing, PyObject *name);
PyObject *position_in(PyObject *broker, PyObject *data);
int truth(Value value);
Value item_at(Trace *trace, Memory *memory, Value container, Value key);
Value present_value(Trace *trace, Value value, PyObject *method);
Value length_of(Trace *trace, PyObject *strategy, Value value);
int find_ways(PyObject *asking);

#endif
