//! The publish options: a form that the client has made for its push service (XEP-0357 section 5).
//!
//! Clients send forms of any type, or of none. Push services read them strictly, and as submitted
//! (XEP-0060 section 7.1.5).

use minidom::Element;
use minidom::rxml::{Namespace, NcName};
use xmpp_parsers::data_forms::DataForm;

use super::ns;
use super::publish::{NONE, Writer};

/// What a push service gets of a form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// All of it, with the type `submit`.
    AsItIs,
    /// These fields, since strict services could not read all of it.
    Fields(Vec<Field>),
}

/// A field of a submitted form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Its name.
    pub var: String,
    /// Its values.
    pub values: Vec<String>,
}

/// What a push service gets of `form`; `None` if that is no form.
pub fn submitted(mut form: Element) -> Option<Submitted> {
    if !form.is("x", ns::DATA_FORMS) {
        return None;
    }
    let attr = NcName::try_from("type").ok()?;
    form.set_attr(Namespace::NONE, attr, "submit");
    if DataForm::try_from(form.clone()).is_ok() {
        return Some(Submitted::AsItIs);
    }
    let mut fields: Vec<Field> = Vec::new();
    for field in form.children() {
        let Some(var) = field.attr("var").filter(|_| is(field, "field")) else {
            continue;
        };
        let values = field.children().filter(|child| is(child, "value"));
        let mut values: Vec<_> = values.map(Element::text).collect();
        if var == "FORM_TYPE" {
            // There has to be one value of one such field (XEP-0068).
            values.truncate(1);
            if values.is_empty() || fields.iter().any(|field| field.var == var) {
                continue;
            }
        }
        let var = var.to_owned();
        fields.push(Field { var, values });
    }
    Some(Submitted::Fields(fields))
}

fn is(element: &Element, name: &str) -> bool {
    element.is(name, ns::DATA_FORMS)
}

/// Writes a submitted form.
pub fn write_form<W: Writer>(writer: &mut W, fields: &[Field]) {
    writer.open("x", Some(ns::DATA_FORMS), &[("type", "submit")]);
    for Field { var, values } in fields {
        writer.open("field", None, &[("var", var)]);
        for value in values {
            writer.open("value", None, NONE);
            writer.text(value);
            writer.close();
        }
        writer.close();
    }
    writer.close();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(attributes: &str, fields: &str) -> Option<Submitted> {
        let xml = format!("<x xmlns='jabber:x:data' {attributes}>{fields}</x>");
        submitted(xml.parse().unwrap())
    }

    const FIELDS: &str = "<field var='FORM_TYPE' type='hidden'><value>t</value></field>\
        <field var='secret'><value>s</value></field>";

    fn field(var: &str, values: &[&str]) -> Field {
        Field {
            var: var.to_owned(),
            values: values.iter().map(|&value| value.to_owned()).collect(),
        }
    }

    #[test]
    fn a_form_of_any_type_is_submitted() {
        for attributes in [
            "type='submit'",
            "type='form'",
            "type='result'",
            "type='cancel'",
            "type='nonsense'",
            "",
        ] {
            for fields in ["", FIELDS, "<title>Push</title>"] {
                assert_eq!(form(attributes, fields), Some(Submitted::AsItIs));
            }
        }
    }

    #[test]
    fn of_what_nobody_could_read_only_the_values_are_submitted() {
        for (fields, read) in [
            ("<field><value>a</value></field>", vec![]),
            (
                "<field var='a' type='nonsense'><value>b</value><value/><desc>c</desc></field>",
                vec![field("a", &["b", ""])],
            ),
            (
                "<field var='FORM_TYPE'/><field var='FORM_TYPE'><value>t</value><value>u</value></field>\
                 <field var='FORM_TYPE'><value>v</value></field><field var='a'/>",
                vec![field("FORM_TYPE", &["t"]), field("a", &[])],
            ),
            (
                "Text<field xmlns='urn:x' var='a'/><field var='b'><option><value>c</value></option></field>",
                vec![field("b", &[])],
            ),
        ] {
            assert_eq!(form("type='submit'", fields), Some(Submitted::Fields(read)));
        }
    }

    #[test]
    fn what_is_no_form_is_not_submitted() {
        for xml in ["<x xmlns='urn:x'/>", "<y xmlns='jabber:x:data'/>"] {
            assert_eq!(submitted(xml.parse().unwrap()), None);
        }
    }
}
