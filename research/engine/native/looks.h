/* Values that are looked at, and where they are found.
 *
 * Belongs here: what looks.c and looked_up.c share. Does not belong here: anything that changes something.
 */

#ifndef BARLOOM_LOOKS_H
#define BARLOOM_LOOKS_H

#include "orders.h"

/* A value at hand: a borrowed object, or a mark that says what the number is. */
typedef struct {
    PyObject *thing;
    double number;
} Value;

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
#define VERSION(dict) ((uint64_t)0)
#endif

static inline int
is_object(Value value)
{
    return value.thing != NULL && !(value.thing >= look_marks && value.thing < look_marks + 4);
}

static inline Value
of_thing(PyObject *thing)
{
    return (Value){thing, 0.0};
}

static inline Value
of_number(Number number)
{
    return (Value){number.kind == WHOLE ? WHOLE_MARK : number.kind == FLOATING ? FLOAT_MARK : NOTHING_MARK, number.value};
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

PyObject *attribute_at(Memory *memory, PyObject *thing, PyObject *name);
int is_getposition(Memory *memory, PyObject *thing, PyObject *name);
PyObject *position_in(PyObject *broker, PyObject *data);
int truth(Value value);
Value item_at(Memory *memory, Value container, Value key);
Number length_of(Value value);
int find_ways(PyObject *asking);

#endif
