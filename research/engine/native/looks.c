/* Following what a strategy's `next` only looks at.
 *
 * Belongs here: the steps of research/engine/looking.py. Does not belong here: reading the values (see looked_up.c),
 * anything that changes something: there the function itself begins, from its beginning.
 *
 * Nothing can change while a program is followed, so values are borrowed from the objects that hold them.
 */

#include "looks.h"

enum { MOST = 24, PATIENCE = 100, LONGEST = 20000 };

enum step {
    ACT, VARIABLE, STORE, CONSTANT, GLOBAL, ATTRIBUTE, METHOD, ITEM, COMPARE, IS, NOT, NEGATIVE, ADD, SUBTRACT,
    MULTIPLY, DIVIDE, POP, COPY, SWAP, CALL, ITERATE, EACH, EACH_KEPT, JUMP, IF_FALSE, IF_TRUE, IF_NONE, IF_NOT_NONE,
    IF_FALSE_OR_POP, IF_TRUE_OR_POP, RETURN, STEPS
};

/* The name of a step, and how many values it needs. */
static const struct {
    const char *name;
    int needs;
} of_steps[STEPS] = {
    {"act", 0}, {"variable", 0}, {"store", 1}, {"constant", 0}, {"global", 0}, {"attribute", 1}, {"method", 1},
    {"item", 2}, {"compare", 2}, {"is", 2}, {"not", 1}, {"negative", 1}, {"+", 2}, {"-", 2}, {"*", 2}, {"/", 2},
    {"pop", 1}, {"copy", 1}, {"swap", 1}, {"call", 1}, {"iterate", 1}, {"each", 1}, {"each_kept", 1}, {"jump", 0},
    {"if_false", 1}, {"if_true", 1}, {"if_none", 1}, {"if_not_none", 1}, {"if_false_or_pop", 1},
    {"if_true_or_pop", 1}, {"return", 0}};

typedef struct {
    enum step step;
    Py_ssize_t place; /* the number that it was given */
    PyObject *thing;  /* the object that it was given; owned */
    Memory memory;
} Step;

typedef struct {
    PyObject_HEAD
    PyObject *code;
    Py_ssize_t count, variables, misses;
    Step *steps;
    Trace trace; /* of the last look */
} Looks;

/* One value is three entries: copied as one it would have to wait for all to reach memory. */
typedef struct {
    PyObject *things[MOST + 2];
    double numbers[MOST + 2];
    int sources[MOST + 2];
} Values;

typedef struct {
    PyObject *strategy, *function;
    Trace *trace;
    Values variables, stack;
    PyObject *lists[MOST + 2]; /* of loops, by their place on the stack */
    Py_ssize_t depth, at;
} Following;

static PyTypeObject *looks_type;
static PyObject *builtin_len;

/* ---------------------------------------------------------------- values at hand */

static inline Value
value_at(Values *values, Py_ssize_t place)
{
    return (Value){values->things[place], values->numbers[place], values->sources[place]};
}

static inline void
set_value(Values *values, Py_ssize_t place, Value value)
{
    values->things[place] = value.thing;
    values->numbers[place] = value.number;
    values->sources[place] = value.source;
}

static inline Value
top(Following *following, Py_ssize_t below)
{
    return value_at(&following->stack, following->depth - 1 - below);
}

/* Put a value in the place of the topmost ones; 0 where it is nothing. */
static inline int
replace(Following *following, Py_ssize_t count, Value value)
{
    following->depth += 1 - count;
    set_value(&following->stack, following->depth - 1, value);
    return value.thing != NOTHING_MARK;
}

/* Whether a value may be moved about. */
static inline int
is_plain(Value value)
{
    return value.thing != ITERATION_MARK && value.thing != GETPOSITION_MARK && value.thing != NOTHING_MARK;
}

/* ---------------------------------------------------------------- steps */

static inline Value
of_truth(int is, int source)
{
    return (Value){is < 0 ? NOTHING_MARK : is ? Py_True : Py_False, (double)is, source};
}

/* How two numbers compare; -1 for anything else. */
static int
compared(Value a, Value b, Py_ssize_t how)
{
    Number left = number_of_value(a), right = number_of_value(b);
    if (either_strange(left, right))
        return -1;
    switch (how) {
    case Py_LT: return left.value < right.value;
    case Py_LE: return left.value <= right.value;
    case Py_EQ: return left.value == right.value;
    case Py_NE: return left.value != right.value;
    case Py_GT: return left.value > right.value;
    case Py_GE: return left.value >= right.value;
    default: return -1;
    }
}

static Value
comparison(Trace *trace, Step *step, Value a, Value b)
{
    PyObject *methods[] = {name_lt, name_le, name_eq, name_ne, name_gt, name_ge};
    PyObject *reflected[] = {name_gt, name_ge, name_eq, name_ne, name_lt, name_le};
    int known = step->place >= 0 && step->place < 6;
    a = known ? present_value(trace, a, methods[step->place]) : nothing();
    b = known ? present_value(trace, b, reflected[step->place]) : nothing();
    int is = compared(a, b, step->place);
    return is < 0 ? nothing() : of_truth(is, trace_two(trace, COMPARES, (int)step->place, a, b));
}

static Value
identity(Trace *trace, Step *step, Value a, Value b)
{
    require_fixed(trace, a);
    require_fixed(trace, b);
    return is_object(a) && is_object(b) ? of_truth((a.thing == b.thing) != (int)step->place, FIXED) : nothing();
}

static Number
arithmetic(enum step step, Number a, Number b)
{
    switch (step) {
    case ADD: return sum(a, b);
    case SUBTRACT: return difference(a, b);
    case MULTIPLY: return product(a, b);
    default: return quotient(a, b);
    }
}

static Value
calculation(Trace *trace, Step *step, Value a, Value b)
{
    static const enum term terms[] = {[ADD] = SUM, [SUBTRACT] = DIFFERENCE, [MULTIPLY] = PRODUCT, [DIVIDE] = QUOTIENT};
    Number made = arithmetic(step->step, number_of_value(a), number_of_value(b));
    return made.kind == STRANGE ? nothing() : of_number(made, trace_two(trace, terms[step->step], 0, a, b));
}

/* A step that makes one value of two. */
static Value
of_two(Trace *trace, Step *step, Value a, Value b)
{
    switch (step->step) {
    case ITEM: return item_at(trace, &step->memory, a, b);
    case COMPARE: return comparison(trace, step, a, b);
    case IS: return identity(trace, step, a, b);
    default: return calculation(trace, step, a, b);
    }
}

static Value
attribute_of(Step *step, Value value)
{
    PyObject *found = is_object(value) ? attribute_at(&step->memory, value.thing, step->thing) : NULL;
    return of_thing(found == NULL ? NOTHING_MARK : found);
}

/* The opposite of a truth. */
static Value
denial(Trace *trace, Value value)
{
    value = present_value(trace, value, name_truth);
    int is = truth(value);
    return is < 0 ? nothing() : of_truth(!is, trace_one(trace, DENIES, value));
}

/* `-0` of an integer is no float. */
static Value
opposite(Trace *trace, Value value)
{
    Value minus = of_number(floating(-1.0), FIXED);
    Number number = number_of_value(value);
    if (number.kind == STRANGE)
        return nothing();
    if (number.kind == WHOLE)
        require_fixed(trace, value);
    return of_number(negative(number), trace_two(trace, PRODUCT, 0, value, minus));
}

/* The beginning of a loop over a list. */
static Value
iteration(Following *following, Value value)
{
    if (!is_object(value) || !PyList_CheckExact(value.thing))
        return nothing();
    following->lists[following->depth - 1] = value.thing;
    return (Value){ITERATION_MARK, 0.0, FIXED};
}

static Value
method(Following *following, Step *step, Value value)
{
    int is = value.thing == following->strategy && is_getposition(&step->memory, value.thing, step->thing);
    return of_thing(is ? GETPOSITION_MARK : NOTHING_MARK);
}

/* A step that makes another value of one. */
static Value
of_one(Following *following, Step *step, Value value)
{
    switch (step->step) {
    case ATTRIBUTE: return attribute_of(step, value);
    case METHOD: return method(following, step, value);
    case NOT: return denial(following->trace, value);
    case NEGATIVE: return opposite(following->trace, value);
    default: return iteration(following, value);
    }
}

/* The position of a feed, of the first one where none is given. */
static Value
position_for(Following *following, Py_ssize_t count)
{
    PyObject *own = own_of(following->strategy), *broker = own == NULL ? NULL : broker_of_run(own), *held = NULL;
    Value data = count ? top(following, 0) : of_thing(Py_None);
    if (broker != NULL && is_object(data))
        held = position_in(broker, data.thing == Py_None ? first_feed(own) : data.thing);
    return of_thing(held == NULL ? NOTHING_MARK : held);
}

/* `len(thing)` or `self.getposition(feed)`, whose function and arguments are the topmost values. */
static int
call(Following *following, Py_ssize_t count)
{
    if (count > 1 || following->depth <= count)
        return 0;
    Value callee = top(following, count), made = nothing();
    if (callee.thing == GETPOSITION_MARK)
        made = position_for(following, count);
    else if (callee.thing == builtin_len && count == 1)
        made = length_of(following->trace, following->strategy, top(following, 0));
    return replace(following, count + 1, made);
}

/* The next element of the list that the topmost value goes through, or on behind the loop. */
static int
each(Following *following, Step *step)
{
    Value over = top(following, 0);
    if (over.thing != ITERATION_MARK)
        return 0;
    PyObject *list = following->lists[following->depth - 1];
    Py_ssize_t place = (Py_ssize_t)over.number;
    if (place < PyList_GET_SIZE(list)) {
        following->stack.numbers[following->depth - 1] = (double)(place + 1);
        return replace(following, 0, of_thing(PyList_GET_ITEM(list, place)));
    }
    following->depth -= step->step == EACH;
    following->at = step->place;
    return 1;
}

/* Go on elsewhere where the topmost value is true, or is not; it is taken, or stays where the jump is made. */
static int
branch(Following *following, Step *step, int when, int keeps)
{
    Value value = present_value(following->trace, top(following, 0), name_truth);
    int is = truth(value);
    if (is < 0)
        return 0;
    require(following->trace, value, is);
    if (is == when)
        following->at = step->place;
    following->depth -= !(is == when && keeps);
    return 1;
}

/* The same where it is None; a number is never that. */
static int
branch_on_none(Following *following, Step *step, int when)
{
    if ((top(following, 0).thing == Py_None) == when)
        following->at = step->place;
    following->depth--;
    return 1;
}

static int
global(Following *following, PyObject *name)
{
    PyObject *found = found_in(PyFunction_GET_GLOBALS(following->function), name);
    if (found == NULL)
        found = found_in(((PyFunctionObject *)following->function)->func_builtins, name);
    return replace(following, 0, of_thing(found == NULL ? NOTHING_MARK : found));
}

static int
store(Following *following, Py_ssize_t place)
{
    Value value = top(following, 0);
    set_value(&following->variables, place, value);
    following->depth--;
    return is_plain(value);
}

static int
copy(Following *following, Py_ssize_t place)
{
    if (place < 1 || place > following->depth)
        return 0;
    Value value = top(following, place - 1);
    return is_plain(value) && replace(following, 0, value);
}

static int
swap(Following *following, Py_ssize_t place)
{
    if (place < 1 || place > following->depth)
        return 0;
    Value upper = top(following, 0), lower = top(following, place - 1);
    set_value(&following->stack, following->depth - 1, lower);
    set_value(&following->stack, following->depth - place, upper);
    return is_plain(upper) && is_plain(lower);
}

/* One step; 0 where Python has to begin. */
static int
follow(Following *following, Step *step)
{
    switch (step->step) {
    case VARIABLE: return replace(following, 0, value_at(&following->variables, step->place));
    case STORE: return store(following, step->place);
    case CONSTANT: return replace(following, 0, of_thing(step->thing));
    case GLOBAL: return global(following, step->thing);
    case ATTRIBUTE: case METHOD: case NOT: case NEGATIVE: case ITERATE:
        return replace(following, 1, of_one(following, step, top(following, 0)));
    case ITEM: case COMPARE: case IS: case ADD: case SUBTRACT: case MULTIPLY: case DIVIDE:
        return replace(following, 2, of_two(following->trace, step, top(following, 1), top(following, 0)));
    case POP: following->depth--; return 1;
    case COPY: return copy(following, step->place);
    case SWAP: return swap(following, step->place);
    case CALL: return call(following, step->place);
    case EACH: case EACH_KEPT: return each(following, step);
    case JUMP: following->at = step->place; return 1;
    case IF_FALSE: return branch(following, step, 0, 0);
    case IF_TRUE: return branch(following, step, 1, 0);
    case IF_FALSE_OR_POP: return branch(following, step, 0, 1);
    case IF_TRUE_OR_POP: return branch(following, step, 1, 1);
    case IF_NONE: return branch_on_none(following, step, 1);
    case IF_NOT_NONE: return branch_on_none(following, step, 0);
    default: return 0;
    }
}

/* Whether a function of this one argument would return without having done anything. */
static int
returns(Looks *self, PyObject *function, PyObject *argument)
{
    Following following;
    following.strategy = argument;
    following.function = function;
    following.trace = &self->trace;
    following.depth = following.at = 0;
    set_value(&following.variables, 0, of_thing(argument));
    for (Py_ssize_t number = 1; number < self->variables; number++)
        set_value(&following.variables, number, nothing());
    for (int steps = 0; steps < LONGEST; steps++) {
        Step *step = &self->steps[following.at++];
        if (step->step == RETURN)
            return 1;
        if (following.depth < of_steps[step->step].needs || following.depth >= MOST || !follow(&following, step))
            return 0;
    }
    return 0;
}

/* Whether nobody follows what Python runs, and the function is the one that the program was made of. */
static int
may_look(Looks *self, PyObject *method, PyObject *strategy)
{
    PyObject *function = PyMethod_GET_FUNCTION(method);
    PyThreadState *thread = PyThreadState_Get();
    return PyMethod_GET_SELF(method) == strategy && PyFunction_Check(function) &&
           PyFunction_GET_CODE(function) == self->code && thread->c_tracefunc == NULL && thread->c_profilefunc == NULL;
}

/* Whether `next` would look at the present bar and do nothing; asked in vain too often, it says no unasked.
 *
 * Args: the clocks of all lines, NULL where feeds have times of their own.
 */
int
only_looks(PyObject *looks, PyObject *method, PyObject *strategy, PyObject *bar, PyObject *now)
{
    Looks *self = (Looks *)looks;
    if (self->misses > PATIENCE || !may_look(self, method, strategy))
        return 0;
    begin_trace(&self->trace, bar, now);
    int looked = returns(self, PyMethod_GET_FUNCTION(method), strategy);
    if (PyErr_Occurred()) {
        PyErr_Clear(); /* Python meets the same error at its place */
        looked = 0;
    }
    self->misses = looked ? 0 : self->misses + 1;
    return looked;
}

/* The first bar from `step` on, at most `stop`, at which `next` may do anything; it has only looked at the one before,
 * and nothing has happened since.
 */
Py_ssize_t
still_looks(PyObject *looks, Py_ssize_t step, Py_ssize_t stop)
{
    return follow_trace(&((Looks *)looks)->trace, step, stop);
}

/* ---------------------------------------------------------------- the type */

static void
looks_dealloc(Looks *self)
{
    PyTypeObject *type = Py_TYPE(self);
    for (Py_ssize_t number = 0; self->steps != NULL && number < self->count; number++)
        Py_XDECREF(self->steps[number].thing);
    PyMem_Free(self->steps);
    Py_XDECREF(self->code);
    type->tp_free(self);
    Py_DECREF(type);
}

static int
set_step(Step *step, PyObject *given)
{
    PyObject *name = PyTuple_GetItem(given, 0), *with = name == NULL ? NULL : PyTuple_GetItem(given, 1);
    int kind = 0;
    if (with == NULL)
        return -1;
    while (kind < STEPS && PyUnicode_CompareWithASCIIString(name, of_steps[kind].name))
        kind++;
    if (kind == STEPS) {
        PyErr_Format(PyExc_ValueError, "a program has no step %R", name);
        return -1;
    }
    step->step = (enum step)kind;
    step->thing = Py_NewRef(with);
    step->place = PyLong_CheckExact(with) && kind != CONSTANT ? PyLong_AsSsize_t(with) : 0;
    return PyErr_Occurred() ? -1 : 0;
}

static int
is_inside(Looks *self, Step *step)
{
    switch (step->step) {
    case VARIABLE: case STORE: return step->place >= 0 && step->place < self->variables;
    case JUMP: case IF_FALSE: case IF_TRUE: case IF_NONE: case IF_NOT_NONE: case IF_FALSE_OR_POP:
    case IF_TRUE_OR_POP: case EACH: case EACH_KEPT: return step->place >= 0 && step->place < self->count;
    default: return 1;
    }
}

static int
looks_init(Looks *self, PyObject *args, PyObject *Py_UNUSED(keywords))
{
    PyObject *code, *program;
    if (!PyArg_ParseTuple(args, "O!O!:Looks", &PyCode_Type, &code, &PyTuple_Type, &program))
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(program);
    if (self->steps != NULL || count == 0 || ((PyCodeObject *)code)->co_nlocals > MOST) {
        PyErr_SetString(PyExc_ValueError, "a program has steps, and not more variables than there is room for");
        return -1;
    }
    if ((self->steps = PyMem_Calloc((size_t)count + 1, sizeof(Step))) == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    self->code = Py_NewRef(code);
    self->variables = ((PyCodeObject *)code)->co_nlocals;
    self->count = count; /* behind the last step stands `act` */
    for (Py_ssize_t number = 0; number < count; number++) {
        if (set_step(&self->steps[number], PyTuple_GET_ITEM(program, number)))
            return -1;
        if (!is_inside(self, &self->steps[number])) {
            PyErr_SetString(PyExc_ValueError, "a step of a program leads out of it");
            return -1;
        }
    }
    return 0;
}

static PyType_Slot looks_slots[] = {
    {Py_tp_doc, "What a method only looks at, for one run."},
    {Py_tp_init, looks_init},
    {Py_tp_new, PyType_GenericNew},
    {Py_tp_dealloc, looks_dealloc},
    {0, NULL},
};

static PyType_Spec looks_spec = {
    .name = "research.engine.native._loop.Looks",
    .basicsize = sizeof(Looks),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = looks_slots,
};

int
is_looks(PyObject *thing)
{
    return Py_IS_TYPE(thing, looks_type);
}

int
add_looks(PyObject *module, PyObject *asking)
{
    builtin_len = PyDict_GetItemString(PyEval_GetBuiltins(), "len");
    looks_type = (PyTypeObject *)PyType_FromSpec(&looks_spec);
    int failed = builtin_len == NULL || find_ways(asking) || looks_type == NULL;
    return failed || PyModule_AddType(module, looks_type) ? -1 : 0;
}
