/* Reading what a strategy looks at, where reading runs nobody's code.
 *
 * Belongs here: attributes, items, lengths and the truth of values. Does not belong here: which of them are looked at
 * (see looks.c).
 *
 * A type that has a say in how it is read is left to Python, except those whose ways are the ones of reads.c and
 * asking.c.
 */

#include "looks.h"

PyObject look_marks[4];

static PyObject *position_of, *getposition_of;

/* ---------------------------------------------------------------- attributes */

static enum kind
kind_of(PyObject *of_class)
{
    if (of_class == NULL)
        return OWN;
    if (of_class == position_of)
        return POSITION_OF;
    if (of_class == getposition_of)
        return GETPOSITION_OF;
    if (Py_TYPE(of_class)->tp_descr_get == NULL)
        return Py_TYPE(of_class)->tp_descr_set == NULL ? OWN_OR_CLASS : UNKNOWN;
    return Py_TYPE(of_class)->tp_descr_set == NULL ? OWN : UNKNOWN;
}

/* What the attribute is for objects of a type: looked up again when the type was changed. */
static enum kind
look_up(Memory *memory, PyTypeObject *type, PyObject *name)
{
    if (memory->type == type && memory->type_version != 0 && memory->type_version == type->tp_version_tag)
        return memory->kind;
    if (type->tp_getattro != PyObject_GenericGetAttr && !finds_quickly(type))
        return UNKNOWN;
    memory->of_class = _PyType_Lookup(type, name);
    memory->kind = kind_of(memory->of_class);
    memory->type = type;
    memory->type_version = type->tp_version_tag;
    memory->is_known = 0;
    return memory->kind;
}

/* The position of a feed that an earlier look has made; NULL where there is none. */
PyObject *
position_in(PyObject *broker, PyObject *data)
{
    PyObject *positions = found_in(broker, name_positions);
    return positions == NULL || data == NULL || !PyDict_Check(positions) ? NULL : found_in(positions, data);
}

/* Whether the last position is the one still: neither the strategy nor the broker nor its positions are others. */
static int
is_same_position(Memory *memory, PyObject *own)
{
    PyObject *datas = memory->found[1], *positions = memory->found[2];
    return memory->is_known && memory->seen[0] == VERSION(own) && PyList_GET_SIZE(datas) &&
           PyList_GET_ITEM(datas, 0) == memory->first && memory->seen[1] == VERSION(memory->broker) &&
           memory->seen[2] == VERSION(positions);
}

/* `self.position` */
static PyObject *
position(Memory *memory, PyObject *own)
{
    if (is_same_position(memory, own))
        return memory->found[0];
    PyObject *broker = broker_of_run(own), *data = first_feed(own);
    PyObject *held = broker == NULL ? NULL : position_in(broker, data);
    memory->is_known = held != NULL && VERSION(own) != 0;
    if (memory->is_known) {
        PyObject *positions = found_in(broker, name_positions);
        memory->broker = broker;
        memory->first = data;
        memory->seen[0] = VERSION(own);
        memory->seen[1] = VERSION(broker);
        memory->seen[2] = VERSION(positions);
        memory->found[0] = held;
        memory->found[1] = found_in(own, name_datas);
        memory->found[2] = positions;
    }
    return held;
}

/* An attribute that an object keeps itself, or its class plainly; NULL where it has none or it is no plain one. */
static PyObject *
plain_attribute(Memory *memory, PyObject *own, PyObject *name)
{
    if (memory->is_known && memory->seen[0] == VERSION(own))
        return memory->found[0];
    PyObject *found = found_in(own, name);
    if (found == NULL && memory->kind == OWN_OR_CLASS)
        found = memory->of_class;
    memory->is_known = found != NULL && VERSION(own) != 0;
    if (memory->is_known) {
        memory->seen[0] = VERSION(own);
        memory->found[0] = found;
    }
    return found;
}

/* An attribute whose reading runs no code; borrowed, NULL where only Python can say. */
PyObject *
attribute_at(Memory *memory, PyObject *thing, PyObject *name)
{
    enum kind kind = look_up(memory, Py_TYPE(thing), name);
    PyObject *own = kind == UNKNOWN || kind == GETPOSITION_OF ? NULL : own_of(thing);
    if (own == NULL)
        return NULL;
    return kind == POSITION_OF ? position(memory, own) : plain_attribute(memory, own, name);
}

/* Whether an attribute is the compiled `getposition`. */
int
is_getposition(Memory *memory, PyObject *thing, PyObject *name)
{
    return look_up(memory, Py_TYPE(thing), name) == GETPOSITION_OF && found_in(own_of(thing), name) == NULL;
}

/* ---------------------------------------------------------------- values */

/* Whether a value is true; -1 where only Python can say. */
int
truth(Value value)
{
    PyObject *thing = value.thing;
    if (thing == Py_True || thing == Py_False || thing == Py_None)
        return thing == Py_True;
    if (is_object(value) && tells_held(Py_TYPE(thing)))
        value.thing = found_in(own_of(thing), name_size);
    Number number = number_of_value(value);
    if (number.kind != STRANGE)
        return !is_zero(number);
    if (!is_object(value) || value.thing != thing)
        return -1;
    if (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))
        return Py_SIZE(thing) != 0;
    return is_plain_order(thing) ? 1 : -1;
}

/* Where a line, feed or indicator keeps its clock and its values; 0 where it has none. */
static int
find_values(Memory *memory, PyObject *line, PyObject *name)
{
    PyObject *own = own_of(line);
    if (own == NULL)
        return 0;
    if (memory->is_known && memory->seen[0] == VERSION(own))
        return 1;
    PyObject *clock = found_in(own, name_clock_now), *values = found_in(own, name);
    if (clock == NULL || values == NULL || !PyList_CheckExact(clock) || !is_doubles(values))
        return 0;
    memory->found[0] = clock;
    memory->found[1] = values;
    memory->seen[0] = VERSION(own);
    memory->is_known = VERSION(own) != 0;
    return 1;
}

/* A value of a line, feed or indicator that follows a clock. */
static Value
value_of_line(Trace *trace, Memory *memory, PyObject *line, PyObject *name, Number back)
{
    if (!find_values(memory, line, name) || PyList_GET_SIZE(memory->found[0]) == 0)
        return nothing();
    PyObject *clock = memory->found[0], *values = memory->found[1];
    Number at = sum(number_of(PyList_GET_ITEM(clock, 0)), back);
    if (at.kind != WHOLE || at.whole < 0 || at.whole >= Py_SIZE(values))
        return nothing(); /* counted from the end, or an error */
    return of_number(floating(doubles_of(values)[at.whole]), trace_line(trace, clock, values, back));
}

/* The value under a key that is equal to itself only, or is a string; NULL where only Python can say. */
static PyObject *
under_key(PyObject *dict, Value key)
{
    if (!is_object(key))
        return NULL;
    int plain = Py_TYPE(key.thing)->tp_hash == PyBaseObject_Type.tp_hash || PyUnicode_CheckExact(key.thing);
    return plain ? PyDict_GetItemWithError(dict, key.thing) : NULL;
}

static PyObject *
in_sequence(PyObject *sequence, Number place)
{
    if (place.kind != WHOLE)
        return NULL;
    long long at = place.whole + (place.whole < 0 ? Py_SIZE(sequence) : 0);
    return at >= 0 && at < Py_SIZE(sequence) ? PySequence_Fast_GET_ITEM(sequence, at) : NULL;
}

/* `container[key]`; nothing where only Python can say. */
Value
item_at(Trace *trace, Memory *memory, Value container, Value key)
{
    PyObject *thing = container.thing, *item = NULL;
    if (!is_object(container))
        return nothing();
    require_fixed(trace, key);
    Number place = number_of_value(key);
    PyObject *values = place.kind == WHOLE ? values_of(Py_TYPE(thing)) : NULL;
    if (values != NULL)
        return value_of_line(trace, memory, thing, values, place);
    if (PyDict_CheckExact(thing))
        item = under_key(thing, key);
    else if (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))
        item = in_sequence(thing, place);
    return of_thing(item == NULL ? NOTHING_MARK : item);
}

/* What a comparison, or a question for its truth, takes a line for: its present value; any other value as it is.
 *
 * Args: the method by which the class of a line compares, which is one of lines._COMPARED if it is in the class.
 */
Value
present_value(Trace *trace, Value value, PyObject *method)
{
    enum { CALCULATES = 2 };
    PyObject *thing = value.thing, *own;
    if (!is_object(value) || values_of(Py_TYPE(thing)) == NULL || found_in(Py_TYPE(thing)->tp_dict, method) == NULL ||
        (own = own_of(thing)) == NULL)
        return value;
    Number stage = number_of(found_in(own, name_opstage));
    Memory none = {0};
    if (stage.kind != WHOLE || stage.whole != CALCULATES)
        return value;
    return item_at(trace, &none, value, of_number(whole(0), FIXED));
}

/* `len(...)`; nothing where only Python can say. */
Value
length_of(Trace *trace, PyObject *strategy, Value value)
{
    PyObject *thing = value.thing;
    if (!is_object(value))
        return nothing();
    if (PyList_CheckExact(thing) || PyTuple_CheckExact(thing))
        return of_number(whole(Py_SIZE(thing)), FIXED);
    PyObject *clock = counts_bars(Py_TYPE(thing)) ? found_in(own_of(thing), name_clock_now) : NULL;
    if (thing == strategy) /* one that has a length of its own is not eligible */
        clock = trace->now;
    if (clock == NULL || !PyList_CheckExact(clock) || PyList_GET_SIZE(clock) == 0)
        return nothing();
    return of_number(sum(number_of(PyList_GET_ITEM(clock, 0)), whole(1)), trace_length(trace, clock));
}

/* The ways of a strategy that are known to look only. */
int
find_ways(PyObject *asking)
{
    position_of = PyObject_GetAttr(asking, name_position);
    getposition_of = PyObject_GetAttr(asking, name_getposition);
    return position_of && getposition_of ? 0 : -1;
}
