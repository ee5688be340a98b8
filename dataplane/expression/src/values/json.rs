//! JSON objects (claims of a token, arguments of a call) as maps that are read where they are.

use std::sync::{Arc, OnceLock};

use cel::ExecutionError;
use cel::common::traits::{Container, Indexer, Iterable, Iterator as CelIterator, Sizer};
use cel::common::types::{CelBool, CelDouble, CelInt, CelList, CelNull, CelString, CelUInt, MAP_TYPE, Type};
use cel::common::value::{CowVal, Val};
use serde_json::{Map, Value};

use super::key;
use crate::EvalError;

/// The object of a request without claims, or of a listed item without arguments.
pub(crate) static EMPTY: Value = Value::Null;

/// A JSON object; anything that is none reads as an empty one.
#[derive(Debug)]
pub(crate) struct JsonMap<'a> {
    value: &'a Value,
    names: OnceLock<Vec<CelString<'a>>>,
}

impl<'a> JsonMap<'a> {
    pub(crate) fn new(value: &'a Value) -> Self {
        JsonMap { value, names: OnceLock::new() }
    }

    fn map(&self) -> Option<&'a Map<String, Value>> {
        self.value.as_object()
    }

    fn find(&self, name: &str) -> Option<&'a Value> {
        self.map()?.get(name)
    }

    fn names(&self) -> &[CelString<'a>] {
        self.names.get_or_init(|| {
            self.map().map(|map| map.keys().map(|name| CelString::from(name.as_str())).collect()).unwrap_or_default()
        })
    }
}

/// A JSON value in the language's own form. Whole numbers are `int`, or `uint` where they do not fit.
pub(crate) fn from_json<'v>(value: &'v Value) -> Box<dyn Val + 'v> {
    match value {
        Value::Null => Box::new(CelNull),
        Value::Bool(b) => Box::new(CelBool::from(*b)),
        Value::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Box::new(CelInt::from(i)),
            (None, Some(u)) => Box::new(CelUInt::from(u)),
            (None, None) => Box::new(CelDouble::from(n.as_f64().unwrap_or(f64::NAN))),
        },
        Value::String(s) => Box::new(CelString::from(s.as_str())),
        Value::Array(items) => Box::new(CelList::from(items.iter().map(from_json).collect::<Vec<_>>())),
        Value::Object(_) => Box::new(JsonMap::new(value)),
    }
}

/// A value of the language as JSON.
pub(crate) fn to_json(value: &dyn Val) -> Result<Value, EvalError> {
    let refused = || EvalError::NoJson(value.get_type().name().to_owned());
    if let Some(text) = value.downcast_ref::<CelString<'_>>() {
        Ok(text.inner().into())
    } else if let Some(number) = value.downcast_ref::<CelInt>() {
        Ok((*number.inner()).into())
    } else if let Some(number) = value.downcast_ref::<CelUInt>() {
        Ok((*number.inner()).into())
    } else if let Some(number) = value.downcast_ref::<CelDouble>() {
        serde_json::Number::from_f64(*number.inner()).map(Value::Number).ok_or_else(refused)
    } else if let Some(boolean) = value.downcast_ref::<CelBool>() {
        Ok((*boolean.inner()).into())
    } else if value.downcast_ref::<CelNull>().is_some() {
        Ok(Value::Null)
    } else if let Some(list) = value.downcast_ref::<CelList<'_>>() {
        list.inner().iter().map(|item| to_json(item.as_ref())).collect()
    } else if let (Some(keys), Some(values)) = (value.as_iterable(), value.as_indexer()) {
        let mut object = Map::new();
        let mut keys = keys.iter();
        while let Some(key) = keys.next() {
            let failed = |error: ExecutionError| EvalError::Failed(error.to_string());
            let found = values.get(key).map_err(failed)?;
            object.insert(super::key("a JSON object", key).map_err(failed)?.to_owned(), to_json(found.as_ref())?);
        }
        Ok(object.into())
    } else {
        Err(refused())
    }
}

impl Indexer for JsonMap<'_> {
    fn get<'b, 'v>(&'b self, index: &dyn Val) -> Result<CowVal<'b, 'v>, ExecutionError>
    where
        Self: 'v,
    {
        let name = key("a JSON object", index)?;
        self.find(name)
            .map(|value| CowVal::Owned(from_json(value)))
            .ok_or_else(|| ExecutionError::NoSuchKey(Arc::new(name.to_owned())))
    }

    fn steal<'v>(self: Box<Self>, index: &dyn Val) -> Result<Box<dyn Val + 'v>, ExecutionError>
    where
        Self: 'v,
    {
        self.get(index).map(CowVal::into_owned)
    }
}

impl Container for JsonMap<'_> {
    fn contains(&self, value: &dyn Val) -> Result<bool, ExecutionError> {
        Ok(self.find(key("a JSON object", value)?).is_some())
    }
}

impl Sizer for JsonMap<'_> {
    fn size(&self) -> CelInt {
        CelInt::from(i64::try_from(self.map().map_or(0, Map::len)).unwrap_or(i64::MAX))
    }
}

impl Iterable for JsonMap<'_> {
    fn iter<'b, 'v>(&'b self) -> Box<dyn CelIterator<'b, 'v> + 'b>
    where
        Self: 'v,
    {
        Box::new(Values(self.names().iter()))
    }
}

/// Iterates over values that are kept.
pub(super) struct Values<'b, T>(pub(super) std::slice::Iter<'b, T>);

impl<'b, 'v, T: Val + 'v> CelIterator<'b, 'v> for Values<'b, T> {
    fn next(&mut self) -> Option<&'b (dyn Val + 'v)> {
        self.0.next().map(|value| value as &(dyn Val + 'v))
    }
}

/// Makes a value of type `map` of a type with the traits of one.
macro_rules! map_value {
    ($type:ident<$life:lifetime>, |$this:ident| $clone:expr) => {
        impl<$life> Val for $type<$life> {
            fn get_type(&self) -> &Type {
                &MAP_TYPE
            }

            fn cel_type() -> &'static Type {
                &MAP_TYPE
            }

            fn as_container(&self) -> Option<&dyn Container> {
                Some(self)
            }

            fn as_indexer<'b, 'v>(&'b self) -> Option<&'b (dyn Indexer + 'v)>
            where
                Self: 'v,
            {
                Some(self)
            }

            fn as_iterable<'b, 'v>(&'b self) -> Option<&'b (dyn Iterable + 'v)>
            where
                Self: 'v,
            {
                Some(self)
            }

            fn as_sizer(&self) -> Option<&dyn Sizer> {
                Some(self)
            }

            fn clone_as_boxed<'v>(&self) -> Box<dyn Val + 'v>
            where
                Self: 'v,
            {
                let $this = self;
                Box::new($clone)
            }
        }
    };
}
pub(super) use map_value;

map_value!(JsonMap<'a>, |this| JsonMap::new(this.value));
